"""The table of Rocks' commands agrees with the tree: every command of the original has its row."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from rocks.commands._framework.tree import OUR_TREE, is_command, longest_prefix
from rocks.storage.host import service as host
from rocks.storage.nas import service as nas

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/reference/rocks-commands.md"
ROW = re.compile(r"\| `([a-z_ 0-9]+)` \| (done|differs|left out) \| (.*) ?\|")
ORIGINAL = {
    "add": (
        "appliance, appliance attr, appliance route, attr, bootaction, cluster, distribution, firewall, "
        "host, host alias, host attr, host bonded, host interface, host key, host route, host sec_attr, "
        "host vm, network, os attr, os route, roll, route, sec_attr"
    ),
    "check": "services",
    "config": "host interface",
    "create": "distro, host vm, keys, mirror, new roll, package, roll",
    "disable": "roll",
    "dump": (
        ", appliance, appliance attr, appliance route, attr, firewall, host, host attr, host boot, host "
        "interface, host key, host roll, host route, host sec_attr, host vm, network, os attr, os route, "
        "route, sec_attr"
    ),
    "enable": "roll",
    "help": "",
    "iterate": "host",
    "list": (
        "appliance, appliance attr, appliance route, appliance xml, attr, bootaction, cluster, "
        "distribution, firewall, help, host, host alias, host appliance, host attr, host boot, host "
        "firewall, host graph, host installfile, host interface, host interface disablekvm, host key, "
        "host macs, host membership, host partition, host profile, host roll, host route, host sec_attr, "
        "host vm, host xml, license, membership, network, node xml, os attr, os route, roll, roll "
        "command, route, sec_attr"
    ),
    "move": "host vm",
    "open": "host console",
    "pause": "host vm",
    "remove": (
        "appliance, appliance attr, appliance route, attr, bootaction, cluster, distribution, firewall, "
        "host, host alias, host attr, host boot, host bootflags, host interface, host key, host "
        "partition, host roll, host route, host sec_attr, host vm, network, os, os attr, os route, roll, "
        "route, sec_attr"
    ),
    "report": (
        "bug, databasesql, dbhost, distro, host, host attr, host bootflags, host config411, host dhcpd, "
        "host firewall, host interface, host network, host roll, host route, host vlan, host vm config, "
        "host vm virt_type, knownhosts, named, nextip, post, resolv, resolv private, script, shosts, "
        "tentakel, version, vm nextmac, zones"
    ),
    "restore": "host vm",
    "resume": "host vm",
    "run": "host, host sec_attr, reconfigure, roll",
    "save": "host partitions, host vm",
    "set": (
        "appliance attr, attr, cluster power, host attr, host boot, host bootflags, host cdrom, host "
        "comment, host cpus, host installaction, host interface channel, host interface disablekvm, host "
        "interface iface, host interface ip, host interface mac, host interface module, host interface "
        "name, host interface options, host interface subnet, host interface vlan, host membership, host "
        "name, host power, host rack, host rank, host roll, host runaction, host sec_attr, host vm, host "
        "vm cdrom, network mtu, network netmask, network servedns, network subnet, network zone, os attr, "
        "sec_attr"
    ),
    "start": "host vm, service airboss",
    "stop": "host vm, service airboss",
    "swap": "host interface",
    "sync": "config, dns, host firewall, host network, host sec_attr, host sharedkey, host vlan, users",
    "update": "",
}
"""Verb → what follows it, of the base, core and KVM rolls."""

STORAGE = {
    "add": "host storagemap",
    "clean": "host storagemap",
    "dump": "host vm nas",
    "list": "host storageattr, host storagedev, host storagemap, host vm nas, host zvolattr",
    "remove": "host storageimg, host storagemap, host vm nas",
    "report": "host imgstorage",
    "set": "host storageattr, host vm nas, host zvolattr",
}
"""The same of the roll img-storage."""

both_tables = pytest.mark.parametrize("table", [ORIGINAL, STORAGE], ids=["Rocks", "img-storage"])


def rows(table: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    text = PAGE.read_text("utf-8").split("|---|---|---|\n")[1 + (table is STORAGE)]
    lines = text.partition("\n\n")[0].splitlines()
    found = {match[1]: (match[2], match[3].strip()) for line in lines if (match := ROW.fullmatch(line))}
    assert len(found) == len(lines), "a line is no row, or a command has two"
    return found


def original(table: Mapping[str, str]) -> set[str]:
    return {f"{verb} {name.strip()}".strip() for verb, names in table.items() for name in names.split(",")}


def exists(name: str) -> bool:
    path = name.split()
    return longest_prefix(path, [OUR_TREE]) == len(path) and is_command(path, [OUR_TREE])


@both_tables
def test_every_command_of_the_original_has_one_row(table: Mapping[str, str]) -> None:
    assert set(rows(table)) == original(table) and len(original(ORIGINAL)) > 200


@both_tables
def test_what_the_table_calls_done_exists(table: Mapping[str, str]) -> None:
    assert [
        name for name, (state, _) in rows(table).items() if state != "left out" and not exists(name)
    ] == []


@both_tables
def test_what_the_table_calls_left_out_does_not_exist(table: Mapping[str, str]) -> None:
    assert [name for name, (state, _) in rows(table).items() if state == "left out" and exists(name)] == []


@both_tables
def test_a_difference_and_an_omission_have_their_reason(table: Mapping[str, str]) -> None:
    for name, (state, reason) in rows(table).items():
        assert bool(reason) is (state != "done"), name


def test_what_stands_in_the_place_of_files_units_and_hooks_of_image_storage_exists() -> None:
    text = PAGE.read_text("utf-8").partition("| in Rocks | here |\n|---|---|\n")[2]
    here = re.findall(r"`([^`]+)`", " ".join(line.split(" | ")[1] for line in text.splitlines()))
    commands = [" ".join(name.split()[1:4]) for name in here if name.startswith("rocks ")]

    assert {str(nas.STORE), str(host.STORE)} == {name for name in here if name.startswith("/")}
    for unit in (name for name in here if name.startswith("rocks-")):
        assert (ROOT / "packaging/files/units" / f"{unit}.service").is_file()
    for verb, hook in zip(("start", "stop"), (name for name in here if "_imgstorage" in name), strict=True):
        assert (ROOT / f"src/rocks/commands/{verb}/host/vm/plugin_{hook}.py").is_file()
    assert len(commands) == 2 and all(map(exists, commands))
