"""Accounts, names and secret attributes on hosts: one behind a real sshd, and one that is not there."""

from pathlib import Path

import pytest

from rocks.fleet.connection import FleetSettings
from rocks.inventory.attributes.secret_records import store
from tests.system.commands.conftest import Site

HOST = "compute-0-0"


@pytest.fixture
def hosts(known: Site, settings: FleetSettings, tmp_path: Path) -> Site:
    """The site, and a frontend with the accounts of alice and of the system."""
    known.patch.setattr("rocks.inventory.host_requests.FleetSettings", lambda: settings)
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nalice:x:7200:7200:A:/home/alice:/bin/sh\nsys:x:100:100::/:/bin/sh\n"
    )
    (folder / "shadow").write_text("root:$y$FRONTEND:1::::::\nalice:$y$ALICE:1::::::\nsys:$y$SYS:1::::::\n")
    (folder / "group").write_text("root:x:0:\nalice:x:7200:\n")
    known.patch.setenv("ROCKS_ACCOUNTS_FOLDER", str(folder))
    known.done("set attr managed true")
    return known


def on_host(site: Site, command: str) -> str:
    """Output of a command there; a busy machine may not greet within the 2 s that `run host` waits."""
    for _ in range(10):
        ended = site.rocks("run host", HOST, f"command={command}")
        if ended.out != f"{HOST}: down\n":
            break
    assert (ended.status, ended.err) == (0, ""), ended
    return ended.out


@pytest.mark.slow
def test_sync_users(hosts: Site, tmp_path: Path) -> None:
    own = on_host(hosts, "head -n 1 /etc/shadow")
    assert hosts.done("sync users", HOST) == f"{HOST}: accounts written\n"
    assert hosts.done("sync users", HOST) == ""
    assert on_host(hosts, "id -u alice") == "7200\n"
    shadow = on_host(hosts, "cat /etc/shadow")
    assert (
        shadow.startswith(own) and "$y$ALICE" in shadow and "SYS" not in shadow and "FRONTEND" not in shadow
    )
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("")
    assert hosts.done("sync users", HOST) == f"{HOST}: accounts written\n"
    assert "alice" not in on_host(hosts, "cat /etc/passwd /etc/shadow /etc/group /etc/gshadow")


@pytest.mark.slow
def test_a_host_that_is_away_does_not_stop_the_others(hosts: Site) -> None:
    ended = hosts.rocks("sync users")
    assert (ended.status, ended.out) == (3, f"{HOST}: accounts written\n")
    assert ended.err.startswith("Error: compute-0-1: files of host compute-0-1 cannot be read: ")
    assert "alice" not in ended.err


def test_an_account_in_the_way_is_named(hosts: Site) -> None:
    on_host(hosts, "echo bert:x:7200:7200::/:/bin/sh >>/etc/passwd")
    refused = hosts.refused("sync users", HOST)
    assert "the number 7200 of account alice is that of its own account bert" in refused
    on_host(hosts, "sed -i /^bert/d /etc/passwd")


def test_virtual_machines_are_left_out(hosts: Site) -> None:
    hosts.done("add host vm-0-0 membership=compute rack=5 rank=0")
    hosts.change(
        "INSERT INTO vm_nodes (Node, PhysNode, Mem) SELECT v.ID, p.ID, 1 FROM nodes v, nodes p"
        " WHERE v.Name = 'vm-0-0' AND p.Name = %s",
        [HOST],
    )
    assert "vm-0-0 is a virtual machine" in hosts.refused("sync users vm-0-0")
    assert "vm-0-0" not in hosts.rocks("sync host sec_attr").err


def test_secret_attributes(hosts: Site) -> None:
    store(hosts.database, None, "snmp_community", "everywhere")
    store(hosts.database, None, "root_pw", "$6$all")
    store(hosts.database, [HOST], "ROOT_pw", "$6$own")
    store(hosts.database, None, "vm_fence_command", "ipmitool -P secret")
    store(hosts.database, ["compute-0-1"], "other", "not for you")
    hosts.database.commit()
    assert hosts.done("sync host sec_attr", HOST) == f"{HOST}: secret attributes written\n"
    assert hosts.done("sync host sec_attr", HOST) == ""
    assert on_host(hosts, "cd /etc/rocks/sec_attr; stat -c '%a %U %n' . *; tail -n +1 *") == (
        "700 root .\n600 root ROOT_pw\n600 root snmp_community\n"
        "==> ROOT_pw <==\n$6$own\n==> snmp_community <==\neverywhere\n"
    )
    on_host(
        hosts,
        "mkdir -p /etc/rocks/sec_attr.d; cd /etc/rocks/sec_attr.d; "
        "printf '#!/bin/sh\\nread -r value; echo applied ${#value}\\n' >ROOT_pw; chmod 755 ROOT_pw",
    )
    assert hosts.done("run host sec_attr", HOST) == f"{HOST}: applied 6\n"
    on_host(hosts, "chown 65534 /etc/rocks/sec_attr.d/ROOT_pw")
    ended = hosts.rocks("run host sec_attr", HOST)
    assert ended.status == 1 and "is not root's, and was not started" in ended.err
    hosts.done("remove sec_attr snmp_community")
    hosts.done("remove host sec_attr", HOST, "ROOT_pw")
    hosts.done("remove sec_attr root_pw")
    assert hosts.done("sync host sec_attr", HOST) == f"{HOST}: secret attributes written\n"
    assert on_host(hosts, "ls -A /etc/rocks/sec_attr") == ""


def test_the_frontend_gets_its_secret_attributes_where_it_is_named(vm_site: Site) -> None:
    """Its munge is the first to need the key of Slurm."""
    written: list[tuple[str, bool]] = []
    vm_site.patch.setattr("rocks.inventory.host_requests.read_files", lambda *_: {})
    vm_site.patch.setattr(
        "rocks.inventory.host_requests.replace_files",
        lambda host, *_: written.append((host.name, host.is_local)),
    )
    store(vm_site.database, None, "munge_key", "secret")
    vm_site.database.commit()
    assert vm_site.done("sync host sec_attr head") == "head: secret attributes written\n"
    vm_site.done("sync host sec_attr")
    assert written[0] == ("head", True)
    assert sorted(written[1:]) == [("vmc-0-0", False), ("vmc-0-1", False)]


def test_names_on_a_host(hosts: Site) -> None:
    hosts.done("add host interface", HOST, "eth9", "ip=203.0.113.77", "subnet=public", f"name={HOST}-lan")
    before = on_host(hosts, "cat /etc/hosts")
    ended = hosts.rocks("sync dns", HOST)
    assert ended.status == 0 and f"{HOST}: names written\n" in ended.out
    after = on_host(hosts, "cat /etc/hosts")
    assert after.startswith(before) and f"203.0.113.77\t{HOST}-lan.example.org {HOST}-lan\n" in after
    on_host(hosts, "echo '# end of rocks' >>/etc/hosts")
    assert "remove these lines" in hosts.rocks("sync dns", HOST).err
