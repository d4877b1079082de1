"""Reports on the whole site: `list site`, keys, names, versions, definitions; also of a large site."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.large_site import Size, fill
from rocks.core.process import run, run_checked
from rocks.database.connection import Database
from rocks.database.migrate import bring_up_to_date
from rocks.database.settings import Settings
from rocks.fleet.connection import FleetSettings
from tests.system.commands.conftest import Site
from tests.system.commands.test_commands_at_once import LAUNCHER
from tests.system.conftest import record_leases
from tests.system.fresh_databases import FreshDatabases
from tests.terminals import on_terminal

_COLUMNS = (
    "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME <> 'schema_migrations' ORDER BY 1, ORDINAL_POSITION"
)


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The public key of vmc-0-0, which is recorded."""
    run_checked(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], deadline_seconds=20
    )
    text = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(f"vmc-0-0,[10.1.0.2]:2222 {text}\n")
    settings = FleetSettings(known_hosts_file=str(known))
    monkeypatch.setattr("rocks.site.shared_keys.FleetSettings", lambda: settings)
    return text


def test_known_hosts_are_read_by_openssh(vm_site: Site, key: str, tmp_path: Path) -> None:
    vm_site.done("add host alias vmc-0-0 store")
    report = vm_site.done("report knownhosts")
    assert report == f"vmc-0-0,store,vmc-0-0.local,10.1.0.2 {key}\n"
    path = tmp_path / "ssh_known_hosts"
    path.write_text(report)
    for name in ("vmc-0-0", "store", "vmc-0-0.local", "10.1.0.2"):
        found = run(["ssh-keygen", "-F", name, "-f", str(path)], deadline_seconds=20)
        assert found.exit_status == 0 and key in found.text
    assert run(["ssh-keygen", "-F", "head", "-f", str(path)], deadline_seconds=20).exit_status == 1


def test_lists_of_hosts(vm_site: Site) -> None:
    assert vm_site.done("report shosts").split()[:5] == [
        "head",
        "head.local",
        "head.example.org",
        "10.1.0.1",
        "203.0.113.2",
    ]
    assert "group vm-container ()\n  +vmc-0-0\n  +vmc-0-1\n" in vm_site.done("report tentakel")


def test_the_configuration_of_slurm(vm_site: Site, tmp_path: Path) -> None:
    """A real Slurm runs with such a text in tests/system/nucleus."""
    vm_site.patch.setenv("SLURM_CONF", str(tmp_path / "missing" / "slurm.conf"))
    vm_site.done("set host attr head slurm_server 10.1.0.1")
    vm_site.done("set host attr vmc-0-0 slurm_server 10.1.0.1")
    assert "Slurm is not installed here; rocks sync host profile localhost" in vm_site.refused("sync slurm")
    vm_site.done("remove host attr % slurm_server")
    vm_site.patch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    assert "rocks set host attr head slurm_server" in vm_site.refused("report slurm")
    vm_site.done("set host attr head slurm_server 10.1.0.1")
    assert "rocks set appliance attr compute slurm_server 10.1.0.1" in vm_site.refused("report slurm")
    vm_site.done("set appliance attr vm-container slurm_server 10.1.0.1")
    assert "slurm_server" in vm_site.refused("set attr slurm_server", "head ReturnToService=0")
    # an earlier release stored any value
    for host, value in (("vmc-0-1", "10.1.0.2"), ("vmc-0-0", "vmc-0-1"), ("head", "no name")):
        vm_site.set_as_before("slurm_server", value, host)
        message = f"{host} has the slurm_server {value}, which is no address or name of head: rocks list host interface"
        assert message in vm_site.refused("report slurm")
        vm_site.done(f"set host attr {host} slurm_server 10.1.0.1")
    # the first as Debian's installer writes it
    real, names = socket.getaddrinfo, {"head": "127.0.1.1", "slurm.example.org": "10.1.0.1"}

    def resolved(name: str, *given: Any) -> Any:
        return real(names.get(name, name), *given)

    vm_site.patch.setattr("socket.getaddrinfo", resolved)
    vm_site.done("set host attr head slurm_server head")
    vm_site.done("set host attr vmc-0-0 slurm_server slurm.example.org")
    vm_site.done("set host attr vmc-0-1 kvm no")
    lines = vm_site.done("report slurm").splitlines()
    assert "SlurmctldHost=head(10.1.0.1)" in lines
    assert [line for line in lines if line.startswith(("NodeName", "PartitionName=virt"))] == [
        "NodeName=vmc-0-0 NodeAddr=10.1.0.2 CPUs=4",
        "NodeName=vmc-0-1 NodeAddr=10.1.0.3 CPUs=4",
        "PartitionName=virt Nodes=vmc-0-0 OverSubscribe=EXCLUSIVE OverTimeLimit=120 MaxTime=2-0 State=UP",
    ]
    vm_site.done("set host attr vmc-0-1 slurm_server no")  # its appliance has an address
    assert "vmc-0-1" not in vm_site.done("report slurm")
    assert "slurmd" not in vm_site.done("report host profile vmc-0-1")
    vm_site.done("remove host attr vmc-0-1 slurm_server")
    assert "slurmd" in vm_site.done("report host profile vmc-0-1")
    for line in ("nodename=vmc-0-1 RealMemory=1000", "NodeName=extra,vmc-0-1 CPUs=2", "NodeName=vmc-0-[1-9]"):
        (tmp_path / "site.conf").write_text(f"{line}\n")
        for command in ("report slurm", "sync slurm"):
            assert "site.conf has a line NodeName for vmc-0-1, which has one" in vm_site.refused(command)
    (tmp_path / "site.conf").write_text("NodeName=extra[1-3] CPUs=2\n")
    for program, text in (("systemctl", '[ "$1" != is-active ]'), ("scontrol", "echo slurmctld is UP")):
        (tmp_path / program).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / program).chmod(0o755)
    vm_site.patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    vm_site.patch.setattr("rocks.inventory.slurm_service.runs_here", lambda: True)
    tried = vm_site.done("sync slurm dry-run=yes")
    assert "would run `systemctl start slurmctld.service`" in tried, tried
    assert not (tmp_path / "slurm.conf").exists()
    for expected in (f"{tmp_path}/slurm.conf: nodes: 2\n", ""):  # hosts that did not answer are asked again
        ended = vm_site.rocks("sync slurm")
        assert ended.out == expected
        for host in ("vmc-0-0", "vmc-0-1"):
            assert f"rocks run host {host} 'systemctl restart slurmd'" in ended.err
    (tmp_path / "slurm.conf.pending").unlink()
    assert vm_site.done("sync slurm") == ""
    drained = "vmc-0-0|drained*|vm-without-job\nvmc-0-1|drained|new memory"
    (tmp_path / "sinfo").write_text(f"#!/bin/sh\necho '{drained}'\n")
    (tmp_path / "sinfo").chmod(0o755)
    assert "gives no jobs to vmc-0-0 (vm-without-job): sinfo -R" in vm_site.done("list site")
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho 'vmc-0-1|drained|new memory'\n")
    assert "gives no jobs" not in vm_site.done("list site"), "a planned service"


def test_resolvers(vm_site: Site) -> None:
    assert vm_site.done("report resolv") == (
        '<file name="/etc/resolv.conf">\n'
        "search local example.org\nnameserver 198.51.100.7\nnameserver 198.51.100.8\n</file>\n"
    )
    vm_site.done("set attr Kickstart_PrivateDNSServers 10.1.0.1")
    assert vm_site.done("report resolv private") == (
        '<file name="/etc/resolv.conf">\nsearch local example.org\nnameserver 10.1.0.1\n</file>\n'
    )


@pytest.mark.slow
def test_the_definitions_make_the_same_database(
    vm_site: Site, absent_database: Settings, cluster_database: Settings
) -> None:
    with Database(cluster_database) as present:
        expected = present.rows(_COLUMNS)
    client = ["mariadb", f"--socket={cluster_database.socket}", "--user=root"]
    name = absent_database.database
    run_checked([*client, "-e", f"CREATE DATABASE {name}"], deadline_seconds=30)
    for _ in range(2):
        for component in ("base", "kvm"):
            text = vm_site.done("report databasesql", component, "droptable=yes")
            run_checked([*client, name], standard_input=text.encode(), deadline_seconds=60)
    made = run_checked(
        [*client, "--batch", "--skip-column-names", name, "-e", _COLUMNS], deadline_seconds=30
    ).text
    assert [tuple(line.split("\t")) for line in made.splitlines()] == [
        tuple(map(str, row)) for row in expected
    ]
    assert "there are base and kvm" in vm_site.refused("report databasesql", "x'; DROP")


def test_a_bug_report_has_no_names(vm_site: Site) -> None:
    report = vm_site.done("report bug")
    assert "3 hosts, 0 of them virtual machines, 2 networks" in report
    assert not [word for word in ("head", "vmc", "10.1", "52:54", "example.org") if word in report]


@pytest.mark.slow
def test_services_are_checked_against_the_database(vm_site: Site, tmp_path: Path) -> None:
    ended = vm_site.rocks("check services")
    assert ended.status == 1 and f"not as in the database: {tmp_path}/etc-hosts: rocks sync dns" in ended.out
    vm_site.rocks("sync dns")
    after = vm_site.rocks("check services")
    assert "as in the database, in /etc/hosts alone: this machine has no name service" in after.out
    assert "named" not in after.out
    vm_site.done("set host attr head dns_service yes")
    assert "named:" in (asked := vm_site.rocks("check services").out) and "enable --now rocks-dns" in asked
    for command in (
        "add cluster 203.0.113.10 1 fe-name=blue",
        "set host name vmc-0-1 vmc-0-9",
        "remove cluster blue",
    ):
        vm_site.rocks(command)
        assert "not as" not in vm_site.rocks("check services").out, command
    assert "vmc-0-9" in (tmp_path / "etc-hosts").read_text()
    (tmp_path / "dns/zones").mkdir(parents=True)
    assert "dns/named.conf" in vm_site.rocks("check services").out
    vm_site.rocks("sync dns")
    assert "named: " in vm_site.rocks("check services").out


def test_hosts_that_cannot_be_asked_are_in_the_list_as_such(vm_site: Site) -> None:
    """This machine has no key for them: they are not silent."""
    vm_site.done("add cluster 203.0.113.10 2")
    found = json.loads(vm_site.done("list site json=yes"))
    assert [(one["host"], one["state"], one["placed"]) for one in found["hosts"]] == [
        ("head", "error", 1),
        ("vmc-0-0", "error", 1),
        ("vmc-0-1", "error", 1),
    ]
    ((cluster),) = found["clusters"]
    assert (cluster["machines"], cluster["running"], cluster["unknown"]) == (3, 0, 3)
    problems = {one["subject"]: one["problem"] for one in found["problems"]}
    assert problems["host vmc-0-0"].startswith("cannot be asked: ") and found["images"] == []


def test_a_person_gets_a_table_that_is_cut(vm_site: Site) -> None:
    out = vm_site.done("list site lines=2")
    assert " UTC: 0 of 3 hosts are up, 0 clusters\n" in out
    assert "HOST" in out and "and 1 more: lines=3\n" in out and "NEEDS" not in out
    assert "needs an operator" in out


def test_bad_parameters_are_refused(vm_site: Site) -> None:
    assert "watch=yes prints for a person" in vm_site.refused("list site watch=yes json=yes")
    for parameter in ("lines=0", "interval=0", "interval=x"):
        assert "must be an integer" in vm_site.refused("list site", parameter)


def test_a_watch_ends_by_ctrl_c_and_leaves_the_terminal_as_it_was(
    site: Site, processes: dict[str, str]
) -> None:
    command = [sys.executable, "-E", "-S", str(LAUNCHER), "list", "site", "watch=yes", "interval=1"]
    with on_terminal(command, processes, columns=100) as terminal:
        begun = terminal.read_until("hosts are up")
        terminal.type("\x03")
        status, rest = terminal.rest()
    assert status == 0, rest
    assert "\x1b[?1049h" in begun and rest.rstrip().endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in rest


def test_the_metrics_of_a_silent_site(vm_site: Site) -> None:
    lines = vm_site.done("report metrics").splitlines()
    assert 'rocks_host_up{host="vmc-0-0"} 0' in lines
    assert any(line.startswith("rocks_audit_entries_total ") for line in lines)


SMALL = Size(hosts=24, clusters=2, vms_per_cluster=6)
EACH_OWN = ("UUID", "Changed")
"""Columns that differ in each database."""


def rows_of(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Each table's rows, without the columns that differ in each database."""
    columns: dict[str, list[str]] = {}
    for table, column in database.rows(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME FROM information_schema.COLUMNS c JOIN information_schema.TABLES t"
        " ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME AND t.TABLE_TYPE = 'BASE TABLE'"
        " WHERE c.TABLE_SCHEMA = DATABASE() ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION"
    ):
        if column not in EACH_OWN and table not in ("lease_epoch", "schema_migrations"):
            columns.setdefault(str(table), []).append(f"`{column}`")
    return {
        table: sorted(database.rows(f"SELECT {', '.join(names)} FROM {table}"), key=repr)
        for table, names in columns.items()
    }


def test_a_generated_site_has_rows_of_every_kind_and_commands_read_it(site: Site) -> None:
    site.change("DELETE FROM subnets")
    fill(site.database, SMALL, seed=7)
    rows = rows_of(site.database)
    for table in (
        *("nodes", "networks", "vm_nodes", "vm_disks", "vm_leases", "vm_lease_disks", "cluster_vlans"),
        *("aliases", "attributes", "firewalls", "partitions", "boot", "bootflags", "global_routes"),
        *("os_routes", "appliance_routes", "node_routes"),
    ):
        assert rows[table], table
    assert len(rows["nodes"]) == 1 + SMALL.hosts + SMALL.clusters * SMALL.vms_per_cluster
    listed = json.loads(site.done("list host vm json=yes"))
    assert len(listed) == SMALL.clusters * SMALL.vms_per_cluster
    assert site.done("list cluster vc1").count("vm-vc1-") == SMALL.vms_per_cluster - 1
    for arguments in (
        *("list host interface", "list host attr", "list host vm lease", "report host"),
        *("report zones", "report host interface", "report host firewall compute", "dump"),
    ):
        assert site.done(*arguments.split()), arguments


@pytest.mark.slow
def test_the_same_seed_gives_the_same_site(fresh_databases: FreshDatabases) -> None:
    found = []
    for seed in (3, 3, 4):
        settings = fresh_databases.new_name()  # a used one has other numbers
        try:
            bring_up_to_date(settings, Path("/nowhere"))
            record_leases(settings)
            with Database(settings) as database:
                fill(database, SMALL, seed)
                database.execute("UPDATE vm_disks SET Recorded = '2026-01-01'")  # by the server's clock
                found.append(rows_of(database))
        finally:
            fresh_databases.drop(settings)
    assert found[0] == found[1] != found[2]
