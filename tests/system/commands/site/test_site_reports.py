"""Reports of keys, names and versions, and of the database's definitions, read by their consumers."""

import os
from pathlib import Path

import pytest

from rocks.core.process import run, run_checked
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.fleet.settings import FleetSettings
from tests.system.commands.conftest import Site

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


def test_the_configuration_of_slurm(vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real Slurm runs with such a text in tests/system/nucleus."""
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    assert "rocks set host attr head slurm_server" in vm_site.refused("report slurm")
    vm_site.done("set host attr head slurm_server 10.1.0.1")
    assert "rocks set appliance attr compute slurm_server 10.1.0.1" in vm_site.refused("report slurm")
    vm_site.done("set appliance attr vm-container slurm_server 10.1.0.1")
    vm_site.done("set host attr vmc-0-1 kvm no")
    lines = vm_site.done("report slurm").splitlines()
    assert "SlurmctldHost=head(10.1.0.1)" in lines
    assert [line for line in lines if line.startswith(("NodeName", "PartitionName=virt"))] == [
        "NodeName=vmc-0-0 NodeAddr=10.1.0.2 CPUs=4",
        "NodeName=vmc-0-1 NodeAddr=10.1.0.3 CPUs=4",
        "PartitionName=virt Nodes=vmc-0-0 OverSubscribe=EXCLUSIVE OverTimeLimit=120 MaxTime=2-0 State=UP",
    ]
    tried = vm_site.done("sync slurm dry-run=yes")
    assert "would run `systemctl start slurmctld.service`" in tried, tried
    assert not (tmp_path / "slurm.conf").exists()

    for program, text in (("systemctl", ":"), ("scontrol", "echo slurmctld is UP")):
        (tmp_path / program).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ended = vm_site.rocks("sync slurm")
    assert ended.out == f"{tmp_path}/slurm.conf: nodes: 2\n"
    for host in ("vmc-0-0", "vmc-0-1"):
        assert f"rocks run host {host} 'systemctl restart slurmd'" in ended.err
    assert vm_site.done("sync slurm") == ""


def test_resolvers(vm_site: Site) -> None:
    assert vm_site.done("report resolv") == (
        '<file name="/etc/resolv.conf">\n'
        "search local example.org\nnameserver 198.51.100.7\nnameserver 198.51.100.8\n</file>\n"
    )
    vm_site.done("set attr Kickstart_PrivateDNSServers 10.1.0.1")
    assert vm_site.done("report resolv private") == (
        '<file name="/etc/resolv.conf">\nsearch local example.org\nnameserver 10.1.0.1\n</file>\n'
    )


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


def test_services_are_checked_against_the_database(vm_site: Site, tmp_path: Path) -> None:
    ended = vm_site.rocks("check services")
    assert ended.status == 1 and f"not as in the database: {tmp_path}/etc-hosts: rocks sync dns" in ended.out
    vm_site.rocks("sync dns")
    after = vm_site.rocks("check services")
    assert "as in the database" in after.out and "not as" not in after.out
    (tmp_path / "dns/zones").mkdir(parents=True)
    assert "dns/named.conf" in vm_site.rocks("check services").out
    vm_site.rocks("sync dns")
    assert "named: " in vm_site.rocks("check services").out
