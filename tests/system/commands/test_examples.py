"""The examples in the help of commands that reach no other machine, each on a site that has the names in them."""

import shlex
from collections.abc import Iterator

import pytest

from rocks.cli.main import run_line
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.database.connection import Database
from tests.system.commands.conftest import Site

VERBS = ("add", "list", "report", "dump", "set", "remove")
NOUNS = (
    *("appliance", "attr", "bootaction", "distribution", "firewall", "membership", "network"),
    *("os", "route"),
)
NOUNS_OF_HOSTS = (
    *("alias", "appliance", "attr", "bonded", "boot", "bootflags", "comment", "cpus", "firewall"),
    *("ibport", "installaction", "interface", "key", "membership", "name", "partition", "rack"),
    *("rank", "roll", "route", "runaction", "sriov", "vm"),
)
"""What the site below has; a command for anything else is tested beside it."""

ELSEWHERE = {
    "another machine": (
        *("storage", "zvolattr", "host image", "list host vm network", "host power"),
        *("set host vm disk", "host vm snapshot", "host vm console", "host vm screen"),
    ),
    "files, programs or standard input of this machine": (
        *("certificate", "basedir=", "add roll", "add host key frontend-0-0-0 key=/", "report post"),
        *("report script", "report host dhcpd", "sec_attr"),
    ),
    "rolls, keys and a history that this site has not": (
        *("host roll frontend-0-0-0", "list roll hello", "remove roll hello", "remove host key", "vc2"),
        *("host vm lease vm-vc1-0", "remove host vm disk", "remove host vm fence", "remove host rack3"),
        *("remove host partition compute-0-0 partition=/export", "remove firewall rulename=A30-ALL-PRIVATE"),
        *("remove host ibport vmc-0-0 device=mlx4_1", "report host attr compute-0-0 attr=kvm"),
        *("section=kickstart", "set host interface disablekvm", "set host sriov", "set host vm nas"),
        "set host vm cdrom vc1 image=debian-12-netinst",
    ),
    "what exists already, or is taken": (
        "add host compute-0-1",
        "add host head ",
        "add appliance attr compute managed true",
        "add ib partition vc1",
        "set host interface ip",
        "set host interface mac compute-0-0",
        "set host interface subnet compute eth1",
        'set host membership compute-0-0 "VM Container"',
    ),
}
"""Why examples do not run here → parts of them."""


class Uncommitted(Database):
    """Commits nothing: each example finds the site as it was."""

    def commit(self) -> None:
        """Leave the changes to the rollback at the end of the command."""


def examples() -> Iterator[str]:
    """The examples of commands that read or change the database."""
    for path in all_commands([OUR_TREE]):
        command = getattr(load_package(path, [OUR_TREE]), "Command", None)
        nouns = path[1:]
        if command is None or not nouns or path[0] not in VERBS:
            continue
        if nouns[0] in NOUNS or (nouns[0] == "host" and nouns[1:2] and nouns[1] in NOUNS_OF_HOSTS):
            yield from (line for line, _ in read_documentation(command).examples)


def test_the_examples_run(vm_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        "add host compute-0-0",
        "add host compute-0-1 rack=0 rank=9",
        "add host frontend-0-0-0 membership=Frontend rack=0 rank=8",
        "add host vm-container-0-0 membership='VM Container' rack=0 rank=5",
        "add host vm-container-0-1 membership='VM Container' rack=0 rank=6",
        "add host nas-0-0 membership='NAS Appliance'",
        "add host nas-0-1 membership='NAS Appliance' rack=0 rank=7",
        "add host interface compute-0-0 eth0 ip=10.1.0.6 subnet=private mac=00:11:22:33:44:54",
        "add host interface compute-0-1 eth0 ip=10.1.0.16 subnet=private",
        "add host interface compute-0-1 eth1 subnet=public",
        "add host interface vm-container-0-0 eth0 ip=10.1.0.9 subnet=private",
        "add host interface vm-container-0-0 eth2 subnet=public",
        "add host interface vm-container-0-0 eth3 subnet=public",
        "set attr ib_pkey_pool 0x0002-0x00ff",
        "set attr vm_image_directory /state/partition1/kvm/disks",
        "set attr vm_disk_devices /dev/mapper/guests-*",
        "add cluster 203.0.113.5 2 fe-name=vc1 cluster-naming=yes",
    ):
        ended = vm_site.rocks(*shlex.split(line))
        assert ended.status == 0, (line, ended)
    parts = [part for of_reason in ELSEWHERE.values() for part in of_reason]
    lines = [line for line in examples() if not any(part in line for part in parts)]
    failed = []
    with Uncommitted(vm_site.database.settings) as database:
        refused = {
            line for line in lines if line.startswith("add ") and run_line(shlex.split(line), database)
        }
        capsys.readouterr()
        for line in lines:
            if line.startswith("add ") and line not in refused:
                vm_site.rocks(*shlex.split(line))
        for line in lines:
            if line in refused or not line.startswith("add "):
                capsys.readouterr()
                if run_line(shlex.split(line), database):
                    failed.append((line, capsys.readouterr().err.splitlines()[0]))
    assert failed == [], "\n" + "\n".join(map(str, failed))
    assert len(lines) > 200
