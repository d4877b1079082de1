"""`rocks dump`: all of the database as commands; `rocks dump | sh` on an empty database gives the same database."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rocks.commands._framework.tree import OUR_TREE, longest_prefix
from rocks.commands.dump import DumpPart
from rocks.core.process import run
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.site.first_rows import (
    FIRST_APPLIANCES,
    FIRST_ATTRIBUTES,
    FIRST_BOOT_ACTIONS,
    changed_appliances,
    missing_boot_actions,
    other_appliances,
)
from tests.system.commands.conftest import Site
from tests.system.commands.site.database_contents import CONTENTS, OF_THE_MOMENT, contents, tables
from tests.system.conftest import record_leases
from tests.system.fresh_databases import FreshDatabases
from tests.system.imgstorage.image_site import NAS

PARTS = (
    ("network",),
    ("appliance", "attr"),
    ("attr",),
    ("os", "attr"),
    ("bootaction",),
    ("host",),
    ("host", "interface"),
    ("host", "partition"),
    ("host", "vm"),
    ("host", "attr"),
    ("host", "vm", "nas"),
    ("host", "boot"),
    ("firewall",),
)
"""Those with an output for the site of the test, in the order in which they must be replayed."""


def test_a_dump_is_all_parts_in_order(vm_site: Site) -> None:
    """With the NASes of virtual machines' images, after the machines themselves; the last line ends a replay."""
    vm_site.done("add host", NAS, "membership=NAS Appliance", "rack=0", "rank=0")
    vm_site.done("add host vm vmc-0-0 compute name=web")
    vm_site.done("set host vm web disk=file:/a/web.vda,vda,virtio disksize=1")
    vm_site.done("set host vm nas web", f"nas={NAS}", "zpool=tank")
    vm_site.done("set host attr web img_persistent no")
    dumped = vm_site.done("dump")
    rest = dumped
    for arguments in PARTS:
        part = vm_site.done("dump", *arguments, *(["local=yes"] if arguments == ("host",) else []))
        before, found, rest = rest.partition(part)
        assert part and found, arguments
    lines = dumped.splitlines()
    assert lines[-1].endswith("rocks run reconfigure clear=1")


def test_a_dump_is_of_one_moment(vm_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that was renamed after the hosts were dumped had attributes and no line that adds it."""
    renamed: list[str] = []
    run_part = DumpPart.run

    def run_and_rename(part: DumpPart, arguments: str) -> None:
        run_part(part, arguments)
        if part.module_name == "plugin_host":
            vm_site.change("UPDATE nodes SET Name = 'late' WHERE Name = 'compute-0-0'")
            vm_site.change("UPDATE catindex SET Name = 'late' WHERE Name = 'compute-0-0'")
            renamed.append("host")

    vm_site.done("add host compute-0-0")
    vm_site.done("set host attr compute-0-0 colour blue")
    before = vm_site.done("dump")
    with monkeypatch.context() as while_it_runs:
        while_it_runs.setattr(DumpPart, "run", run_and_rename)
        assert vm_site.done("dump") == before
    assert renamed == ["host"]
    assert "late" in vm_site.done("dump"), "the next one reads anew"


def test_commands_of_other_trees_are_parts(vm_site: Site, tmp_path: Path) -> None:
    """A roll adds a command below `dump`, or a plugin with constraints, and nothing else."""
    folder = tmp_path / "dump" / "host" / "shelf"
    folder.mkdir(parents=True)
    text = (
        "import rocks.commands.dump\nclass Command(rocks.commands.dump.command):\n"
        "    def run(self, params, args):\n        self.dump('add', 'host', 'shelf')\n"
    )
    (folder / "__init__.py").write_text(text)
    (tmp_path / "dump" / "plugin_early.py").write_text(
        "import rocks.commands\nclass Plugin(rocks.commands.Plugin):\n"
        "    def requires(self):\n        return ['network']\n"
        "    def precedes(self):\n        return ['interface']\n"
        "    def run(self, args):\n        self.owner.addText('early\\n')\n"
    )
    vm_site.patch.setenv("ROCKS_TREES", str(tmp_path))
    lines = vm_site.done("dump").splitlines()
    places = [
        next(place for place, line in enumerate(lines) if text in line)
        for text in (
            " add network public ",
            "early",
            " add host interface vmc-0-0 ",
            "add host shelf",
            "reconfigure",
        )
    ]
    assert places == sorted(places)


LINES_SECONDS = 300
TEXTS = (
    *('it\'s "quoted"', "two\nlines\n", "--leading", "-n", "name=value"),
    *("select * from nodes; -- `id` $(id) ${HOME} $1", "Grüße 日本 \U0001f600", " blanks at both ends "),
    *("\\backslash\\", "tab\there", "*?[a-z]{a,b}~!#&|<>()", "%d%%", "help", "\x01\x7f", "é\u2028"),
)


@pytest.fixture
def second(fresh_databases: FreshDatabases) -> Iterator[Settings]:
    """An empty database beside that of the test."""
    settings = fresh_databases.take()
    record_leases(settings)
    yield settings
    fresh_databases.give_back(settings)


@pytest.fixture
def replayed(
    rocks: object, second: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Have a shell read the text, and run each command of it, in this process, on the second database."""
    from rocks.cli.main import main

    program, record = tmp_path / "rocks", tmp_path / "record"
    program.write_text(
        f'#!/bin/sh\nif [ "$1 $2" = "list host" ]; then exit 1; fi\n'
        f'case " $* " in *" sec_attr "*) cat ;; esac >"$0.input"\n'
        f'{{ printf "%s\\0" "$#" "$@"; cat "$0.input"; printf "\\0"; }} >>{record}\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("ROCKS_LAUNCHER", str(program))

    def replay(text: str) -> None:
        finished = run(["sh", "-eu"], deadline_seconds=LINES_SECONDS, standard_input=text.encode())
        assert (finished.exit_status, finished.error_text) == (0, "")
        monkeypatch.setenv("ROCKS_DATABASE_NAME", second.database)
        given = iter(record.read_text().split("\0")[:-1])
        for count in given:
            arguments = [next(given) for _ in range(int(count))]
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(next(given).encode()), "utf-8"))
            assert main(arguments) == 0, arguments

    return replay


def exists(*command_path: str) -> bool:
    return longest_prefix(command_path, [OUR_TREE]) == len(command_path)


def test_the_first_rows_are_known(site: Site) -> None:
    """`rocks.site.first_rows` says what the migrations enter."""
    assert (changed_appliances(site.database), other_appliances(site.database)) == ([], [])
    assert missing_boot_actions(site.database) == []
    assert len(FIRST_APPLIANCES) == site.database.rows("SELECT COUNT(*) FROM appliances")[0][0]
    assert len(FIRST_BOOT_ACTIONS) == site.database.rows("SELECT COUNT(*) FROM bootaction")[0][0]
    found = {
        (str(scope), str(member), str(name)): str(value)
        for scope, member, name, value in site.database.rows(
            "SELECT Category, Catindex, Attr, Value FROM vattributes"
        )
    }
    assert found == {
        (*place, name): value for place, values in FIRST_ATTRIBUTES.items() for name, value in values.items()
    }


def test_every_table_is_compared_or_left_out_for_a_reason(site: Site) -> None:
    assert tables(site.database) == set(CONTENTS) | set(OF_THE_MOMENT)


def make_site(site: Site, hosts: int) -> None:
    """Each kind of record, with every odd character where one may be."""
    done = site.done
    done("add", "distribution", "testing")
    done("add appliance storage 'membership=Storage Node' node=client public=no distribution=testing")
    done("remove", "appliance", "attr", "storage", "dhcp_filename")
    done("remove", "appliance", "login")
    done("add", "appliance", "login", "membership=Log in here", "node=login")
    done("set", "appliance", "attr", "compute", "kickstartable", "no")
    done("remove", "attr", "cpu_mode")
    done("set", "os", "attr", "linux", "RootDir", "/home/root")
    done("add", "bootaction", "action=memtest", "kernel=memtest86+ 'x'", 'args=a=b "c"')
    done("remove", "bootaction", "install notracker")
    for number, text in enumerate(TEXTS):
        done("add", "attr", f"odd{number}", f"value={text}")
        done("add", "os", "attr", "linux", f"odd{number}", f"value={text}")
        done("add", "appliance", "attr", "storage", f"odd{number}", f"value={text}")
    done("set", "attr", "odd0", "changed")
    make_hosts(site, hosts)
    make_clusters(site)


def make_hosts(site: Site, hosts: int) -> None:
    done = site.done
    done("add", "host", "head", "membership=Frontend", "rack=0", "rank=0", "cpus=4")
    done("set", "attr", "Kickstart_PrivateHostname", "head")
    done("set", "attr", "Kickstart_PrivateKickstartHost", "10.1.0.1")
    done("add", "host", "interface", "head", "eth0", "ip=10.1.0.1", "subnet=private", "mac=52:54:00:00:00:01")
    done("add", "host", "nas-0-0")
    for number in range(hosts):
        name = f"compute-{number // 40}-{number % 40}"
        done("add", "host", name, f"cpus={number % 3 + 1}")
        mac = f"52:54:01:00:{number // 256:02x}:{number % 256:02x}"
        address = f"10.1.{1 + number // 200}.{1 + number % 200}"
        done("add", "host", "interface", name, "eth0", f"ip={address}", "subnet=private", f"mac={mac}")
    done("set", "host", "runaction", "compute-0-0", "memtest")
    done("set", "host", "installaction", "compute-0-0", "none")
    done("set", "host", "boot", "compute-0-1", "action=install")
    done("set", "host", "bootflags", "compute-0-0", "flags=mem=1024M console=ttyS0,115200")
    done("set", "host", "bootflags", "flags=quiet")
    done("set", "host", "comment", "compute-0-0", "comment=" + TEXTS[0])
    done("add", "host", "alias", "compute-0-0", "c00")
    done("add", "host", "alias", "compute-0-0", "c00.example.org")
    done("add host partition compute-0-0 device=sda1 size=102400MB", "mountpoint=/state/my disk's")
    for number, text in enumerate(TEXTS):
        done("add", "host", "attr", "compute-0-0", f"odd{number}", f"value={text}")
    done("add", "host", "interface", "compute-0-0", "52:54:02:00:00:01", "name=nodevice")
    done("add", "host", "interface", "compute-0-0", "ib0", "module=mlx4_ib", "vlan=7")
    done("set", "host", "interface", "options", "compute-0-0", "ib0", "options=noreport a='b' --x")
    done("set", "host", "interface", "channel", "compute-0-0", "ib0", "bond0")
    done("set", "host", "interface", "disablekvm", "compute-0-0", "ib0", "yes")


def make_clusters(site: Site) -> None:
    done = site.done
    done("set", "attr", "vm_mac_base_addr", "76:77:6e:80:00:00")
    done("set", "attr", "vm_mac_base_addr_mask", "ff:ff:ff:c0:00:00")
    done("set", "attr", "Kickstart_PublicGateway", "203.0.113.1")
    done("set", "attr", "ib_pkey_pool", "0x0002-0x00ff")
    for number in range(2):
        name = f"vm-container-0-{number}"
        done("add", "host", name)
        mac = f"52:54:03:00:00:0{number}"
        done(
            "add",
            "host",
            "interface",
            name,
            "eth0",
            f"ip=10.1.9.{number + 1}",
            "subnet=private",
            f"mac={mac}",
        )
        done("add", "host", "partition", name, "mountpoint=/state/partition1", "size=100GB")
    done("add cluster 203.0.113.9 3 fe-name=blue cluster-naming=yes fe-container=vm-container-0-0")
    done("add", "host", "vm", "vm-container-0-0", "compute", "name=web", "num-macs=2", "vlan=none,9")
    odd = 'file:/a b/it\'s "<x>";$(reboot)&,vda,virtio phy:/dev/disk/by-path/ip-1:3260,vdb,scsi'
    assert site.rocks("set", "host", "vm", "web", f"disk={odd}", "disksize=7 8").status == 0
    done("set", "host", "vm", "nas", "web", "nas=nas-0-0", "zpool=x-1.y", "index=1")
    done("add host cdrom membership=compute rack=1 rank=1")
    done("'set host vm' cdrom physnode=vm-container-0-1 mem=77")
    assert site.rocks("set", "host", "vm", "cdrom", "web", 'cdrom=/it\'s "<x>";$(reboot)&\\.iso').status == 0
    done("set", "host", "interface", "disablekvm", "web", "eth1", "yes")
    done("set", "host", "vm", "nas", "vm-blue-0", "nas=nas-0-0", "zpool=tank")
    done("set", "host", "attr", "vm-container-0-1", "img_storage_nas", "yes")
    done("set", "host", "vm", "nas", "vm-blue-1", "nas=vm-container-0-1", "zpool=tank")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDV7mVuaE1MyyQ5O0S3k3BkSmz9zbBXVhEcLK0fVnFZ7 owner"
    done("add", "host", "key", "blue", f"key={key}", f"description={TEXTS[0]}")
    done("set", "ib", "partition", "blue", "ipoib=no", "membership=limited")
    done("add", "host", "ibport", "vm-container-0-0", "mlx4_0", "0x0002c90300000001")
    done("set", "host", "sriov", "vm-container-0-1", "eth0", "4")


def make_what_others_add(site: Site) -> None:
    """Rows of tables that some commands dump, wherever these exist."""
    if exists("dump", "route"):
        site.change("INSERT INTO global_routes VALUES ('0.0.0.0', '0.0.0.0', '10.1.0.1', NULL)")
        site.change(
            "INSERT INTO global_routes SELECT '224.0.0.0', '255.255.255.0', '', ID FROM subnets WHERE name = 'private'"
        )
    if exists("dump", "os", "route"):
        site.change(
            "INSERT INTO os_routes VALUES ('linux', '198.51.100.0', '255.255.255.0', '10.1.0.7', NULL)"
        )
    if exists("dump", "appliance", "route"):
        site.change(
            "INSERT INTO appliance_routes SELECT ID, '198.51.100.9', '255.255.255.255', '10.1.0.8', NULL"
            " FROM appliances WHERE Name = 'storage'"
        )
    if not exists("dump", "host", "route"):
        site.change("DELETE FROM node_routes")
    if exists("dump", "firewall"):
        site.change(
            "INSERT INTO firewalls (Rulename, InSubnet, Service, Protocol, Action, Chain, Flags, Comment, Category,"
            " Catindex) SELECT 'A10-odd', s.ID, 'ssh', 'tcp', 'ACCEPT', 'INPUT', '-m state --state NEW',"
            " 'it''s \"odd\"', i.Category, i.ID FROM subnets s, catindex i WHERE s.name = 'private'"
            " AND i.Name = 'compute-0-0'"
        )


def without_old_values(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """A dump ends with the removal of attributes' old values."""
    return found | {
        "attributes": [row for row in found["attributes"] if "_old'" not in row.partition("', ")[2][:140]]
    }


def test_a_dump_makes_the_same_database_again(
    site: Site, second: Settings, replayed: Callable[[str], None], silent_hosts: None
) -> None:
    """Read by a shell that stops at the first error; secrets by their own commands. It has the same dump, too."""
    make_site(site, int(os.environ.get("ROCKS_TEST_DUMPED_HOSTS", "12")))
    make_what_others_add(site)
    site.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('root_pw', '$6$it''s\n\"odd\"')")
    site.change(
        "INSERT INTO sec_node_attributes (Node, Attr, Value) SELECT ID, 'ipmi_password', '-n' FROM nodes LIMIT 1"
    )
    dumped = site.done("dump")
    text = dumped + site.done("dump sec_attr") + site.done("dump host sec_attr")
    before = without_old_values(contents(site.database))
    replayed(text)
    with Database(second) as database:
        after = contents(database)
    for table, rows in before.items():
        assert after[table] == rows, table
    assert site.done("dump") == dumped
    assert all(
        before[table] for table in ("networks", "attributes", "cluster_vlans", "vm_disks", "public_keys")
    )


@pytest.mark.slow
def test_a_dump_is_loaded_where_a_cluster_was_removed(site: Site, silent_hosts: None, tmp_path: Path) -> None:
    """All of it comes back; what is there as the dump says is counted, also by another load."""
    make_site(site, 3)
    site.done("'set host vm' cdrom slice=9")  # it has that of a compute of the cluster
    make_what_others_add(site)
    dumped = site.done("dump")
    (tmp_path / "site.dump").write_text(dumped)
    assert site.rocks("remove cluster blue").status == 0
    assert site.done("dump") != dumped
    for taken in (True, False):
        ended = site.rocks("load dump", str(tmp_path / "site.dump"))
        assert (ended.status, ended.out) == (0, ""), ended.out
        assert ended.err.startswith("0 lines taken over") is not taken
        assert sorted(site.done("dump").splitlines()) == sorted(dumped.splitlines())
    site.done("add attr cpu_mode host-model")
    ended = site.rocks("load dump", str(tmp_path / "site.dump"))
    assert ended.status == 3 and "a dump only adds" in ended.out
    assert ended.err.endswith(" 1 left out\n")
