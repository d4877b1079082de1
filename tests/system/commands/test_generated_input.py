"""Any input is either stored and printed exactly, or rejected with one line and without a change."""

import json
import shlex
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from rocks.commands._framework.arguments import parse_arguments
from rocks.commands._framework.run_command import HELP_ARGUMENTS
from tests.generated import examples
from tests.system.commands.conftest import Site

MAC = "00:11:22:33:44:55"

NASTY = (
    *(
        *("", " ", "'", '"', "a'b", 'a"b', "<a>&amp;", "$(reboot)", "`reboot`", "; rm -rf /"),
        *("a\nb", "a\r\nError: x"),
    ),
    *(
        *("\t", "\0", "a\0b", "\x1b[31m", "\x85", "\u2028", "é", "日本", "😀", "ſ", "K", "İ", "\u202e"),
        *("os ", "ós"),
    ),
    *(
        "a" * 63,
        "a" * 64,
        "a" * 128,
        "a" * 129,
        "a" * 300,
        "é" * 256,
        "a" * 5000,
        "NULL",
        "null",
        "None",
        "none",
    ),
    *(
        *("%", "_", "\\", "\\'", "--", "#", "/*", "*", "?", "~", "../../etc/passwd", "a b", "a=b"),
        *("=", "-", "--help"),
    ),
    *("rack0", "select 1", "compute", "Compute", "localhost", "compute-0-0", "COMPUTE-0-0", "compute-7-8"),
    *(
        *("0", "1", "-1", "-0", "+1", "007", "1.5", "1e3", "0x10", "1_000", " 1", "1 ", "٣", "４"),
        *("4095", "999999999"),
    ),
    *(
        "4294967296",
        "9" * 30,
        "10.1.0.1",
        "10.1.0.256",
        "10.1.255.255",
        "10.1.0.0",
        "010.1.0.1",
        "1.2.3",
        "::1",
    ),
    *("00:11:22:33:44:66", "00:11:22:33:44:55", "a:b:c:d:e:f", "a:b:c:d:e:zz", ":::::", "00-11-22-33-44-55"),
    *(
        *("eth1", "eth0", "eth1:1", "eth1.100", "vlan3", "private", "private ", "prívate", "public"),
        *("install", "os", "yes"),
    ),
)

TEXTS = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=30),
    st.text(alphabet="ab0-._:/ '\"<&;$`\\%\n", max_size=12),
    st.text(max_size=300),
)


def same(text: str) -> object:
    """The listing's value for one that is stored unchanged."""
    return text


def same_or_cleared(text: str) -> object:
    """As `same`; None for the value that clears."""
    return None if text.lower() == "null" else text


def number(text: str) -> object:
    """The listing's value of a number."""
    return int(text)


def vlan(text: str) -> object:
    """The listing's value of a VLAN."""
    return None if text.lower() == "null" else int(text) or None


class Case(NamedTuple):
    """A command with one generated value, and the column of a listing that has the value afterwards."""

    line: tuple[str, ...]
    listing: tuple[str, ...]
    column: str
    expected: Callable[[str], object] = same


HOST = ("list", "host", "%")
FACE = ("list", "host", "interface", "%")
BOOT = ("list", "bootaction")

NEW = ("add", "host", "new", "membership=compute", "rack=9", "rank=9")
ETH9 = ("add", "host", "interface", "compute-0-0", "eth9")
SET = ("set", "host")
SETI = ("set", "host", "interface")
ACTION = ("add", "bootaction", "action=fuzzed")

CASES = (
    Case(("add", "host", "TEXT", *NEW[3:]), HOST, "host"),
    Case((*NEW[:3], "membership=TEXT", *NEW[4:]), HOST, "membership", str.lower),
    Case((*NEW, "cpus=TEXT"), HOST, "cpus", number),
    Case((*NEW, "rack=TEXT"), HOST, "rack", number),
    Case((*NEW, "rank=TEXT"), HOST, "rank", number),
    Case((*NEW, "os=TEXT"), HOST, "host", lambda text: "new"),
    Case((*SET, "name", "compute-0-0", "name=TEXT"), HOST, "host"),
    Case((*SET, "cpus", "compute-0-0", "cpus=TEXT"), HOST, "cpus", number),
    Case((*SET, "rack", "compute-0-0", "rack=TEXT"), HOST, "rack", number),
    Case((*SET, "rank", "compute-0-0", "rank=TEXT"), HOST, "rank", number),
    Case((*SET, "membership", "compute-0-0", "membership=TEXT"), HOST, "membership", str.lower),
    Case(
        (*SET, "runaction", "compute-0-0", "action=TEXT"),
        HOST,
        "runaction",
        lambda t: None if t.lower() == "none" else t,
    ),
    Case(
        (*SET, "installaction", "compute-0-0", "action=TEXT"),
        HOST,
        "installaction",
        lambda t: None if t.lower() == "none" else t,
    ),
    Case((*SET, "boot", "compute-0-0", "action=TEXT"), ("list", "host", "boot", "%"), "action"),
    Case(("add", "host", "alias", "compute-0-0", "name=TEXT"), ("list", "host", "alias", "%"), "alias"),
    Case(("add", "bootaction", "action=TEXT", "kernel=k"), BOOT, "action"),
    Case((*ACTION, "kernel=TEXT"), BOOT, "kernel", lambda text: text or None),
    Case((*ACTION, "ramdisk=TEXT"), BOOT, "ramdisk", lambda text: text or None),
    Case((*ACTION, "args=TEXT"), BOOT, "args", lambda text: text or None),
    Case((*ETH9[:4], "iface=TEXT"), FACE, "*"),
    Case((*ETH9, "ip=TEXT"), FACE, "ip", same_or_cleared),
    Case((*ETH9, "mac=TEXT"), FACE, "mac", same_or_cleared),
    Case((*ETH9, "module=TEXT"), FACE, "module", same_or_cleared),
    Case((*ETH9, "name=TEXT"), FACE, "name", same_or_cleared),
    Case((*ETH9, "subnet=TEXT"), FACE, "subnet", same_or_cleared),
    Case((*ETH9, "vlan=TEXT"), FACE, "vlan", vlan),
    Case((*SETI, "ip", "compute-0-0", "eth0", "ip=TEXT"), FACE, "ip", same_or_cleared),
    Case((*SETI, "mac", "compute-0-0", "eth0", "mac=TEXT"), FACE, "mac", same_or_cleared),
    Case((*SETI, "iface", "compute-0-0", MAC, "iface=TEXT"), FACE, "iface", same_or_cleared),
    Case((*SETI, "module", "compute-0-0", "eth0", "module=TEXT"), FACE, "module", same_or_cleared),
    Case((*SETI, "options", "compute-0-0", "eth0", "options=TEXT"), FACE, "options", same_or_cleared),
    Case((*SETI, "channel", "compute-0-0", "eth0", "channel=TEXT"), FACE, "channel", same_or_cleared),
    Case(
        (*SETI, "name", "compute-0-0", "eth0", "name=TEXT"),
        FACE,
        "name",
        lambda t: "compute-0-0" if t.lower() == "null" else t,
    ),
    Case((*SETI, "subnet", "compute-0-0", "eth0", "subnet=TEXT"), FACE, "subnet", same_or_cleared),
    Case((*SETI, "vlan", "compute-0-0", "eth0", "vlan=TEXT"), FACE, "vlan", vlan),
    Case(
        ("add", "host", "route", "compute-0-0", "address=10.2.0.0", "gateway=TEXT", "netmask=255.255.0.0"),
        ("list", "host", "route"),
        "gateway",
        lambda t: (
            "" if t.lower() in ("private", "public", "optiputer") else t
        ),  # the name of a network is none
    ),
)

NEVER_CHANGES = (
    ("list", "host", "TEXT"),
    ("list", "host", "interface", "TEXT"),
    ("report", "nextip", "subnet=TEXT"),
    ("report", "nextip", "private", "increment=TEXT"),
    ("report", "nextip", "private", "baseip=TEXT"),
    ("run", "host", "power", "true", "timeout=TEXT"),
    ("run", "host", "power", "true", "delay=TEXT"),
    ("run", "host", "power", "true", "num-threads=TEXT"),
    ("run", "host", "power", "true", "managed=TEXT"),
    ("report", "databasesql", "TEXT"),
    ("report", "databasesql", "base", "droptable=TEXT"),
    ("set", "host", "interface", "ip", "compute-0-0", "iface=TEXT", "ip=NULL"),
    ("add", "host", "interface", "compute-0-0", "eth0", "module=TEXT"),
    ("list", "host", "route", "TEXT"),
    ("report", "host", "interface", "compute-0-0", "iface=TEXT"),
    ("report", "host", "interface", "compute-0-0", "format=TEXT"),
    ("add", "route", "address=TEXT", "gateway=private", "netmask=1.2.3.4"),
    ("add", "host", "route", "compute-0-0", "address=10.2.0.0", "gateway=private", "netmask=0.TEXT"),
    (
        *("add", "host", "bonded", "compute-0-0", "channel=TEXT", "interfaces=eth9"),
        *("ip=10.1.0.9", "network=private"),
    ),
    (
        *("add", "host", "bonded", "compute-0-0", "channel=bond0", "interfaces=TEXT"),
        *("ip=1.1.1.1", "network=private"),
    ),
    ("swap", "host", "interface", "compute-0-0", "ifaces=eth0,TEXT"),
    ("config", "host", "interface", "compute-0-0", "iface=TEXT", "mac=zz"),
    ("config", "host", "interface", "compute-0-0", "iface=eth0", "mac=TEXT", "flag=a,b"),
)
"""Command lines that only read, or that name an object which does not exist or exists already."""

_generated = settings(
    max_examples=examples(6),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def one(site: Site) -> Site:
    """compute-0-0 with one interface."""
    site.done("add host compute-0-0")
    site.done("add host interface compute-0-0 eth0", f"mac={MAC}")
    return site


def accepted(site: Site, template: tuple[str, ...], text: str) -> bool:
    """Run the command with the text; whether it succeeded. If not: one line, exit 1, no change."""
    if "TEXT" in template:
        assume(text not in HELP_ARGUMENTS and not parse_arguments([text]).parameters)
    line = [part.replace("TEXT", text) for part in template]
    before = site.contents()
    ended = site.rocks(*line)
    if ended.status == 0:
        assert ended.err == "", (line, ended)
        return True
    lines = ended.err.splitlines()
    assert ended.status == 1, (line, ended)
    assert lines[0].startswith("Error: ") and "has a fault" not in lines[0], (line, ended)
    assert len(lines) <= 2 and all(line.startswith("rocks ") for line in lines[1:]), (line, ended)
    assert ended.out == "" and site.contents() == before, (line, ended)
    return False


def listed(site: Site, case: Case) -> list[object]:
    """All values in the column of the case's listing, `*` for all its columns."""
    cells: list[object] = []
    for group in json.loads(site.done(*case.listing, "json=yes")):
        owner, members = group.values()
        if case.column == "*":
            cells += [cell for member in members for cell in member.values()]
        else:
            cells += [member.get(case.column, owner) for member in members]
    return cells


def clean(site: Site) -> None:
    """Restore the state of the fixture `one`."""
    site.change("DELETE FROM catindex WHERE Category = 5")
    site.change(
        "UPDATE nodes SET Name = 'compute-0-0', CPUs = 1, Rack = 0, Rank = 0, Membership = 2 ORDER BY ID LIMIT 1"
    )
    site.change("DELETE FROM nodes WHERE Name <> 'compute-0-0'")
    site.change("DELETE FROM networks")
    site.change("DELETE FROM node_routes")
    site.change("DELETE FROM aliases")
    site.change("DELETE FROM bootaction WHERE Action NOT LIKE 'install%' AND Action <> 'os'")
    site.change("INSERT INTO networks (Node, Device, MAC) SELECT ID, 'eth0', %s FROM nodes", (MAC,))


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case.line))
@_generated
@given(text=TEXTS)
@example(text="a'b\"<&>\n$(x)`;")
@example(text="7")
def test_stored_exactly_or_rejected(one: Site, case: Case, text: str) -> None:
    if not accepted(one, case.line, text):
        return
    values = listed(one, case)
    if case.expected is str.lower:
        values = [str(cell).lower() for cell in values]
    assert case.expected(text) in values, (case, text, values)
    clean(one)


@pytest.mark.parametrize("template", NEVER_CHANGES, ids=" ".join)
@_generated
@given(text=TEXTS)
def test_only_read_or_rejected(one: Site, template: tuple[str, ...], text: str) -> None:
    before = one.contents()
    accepted(one, template, text)
    assert one.contents() == before


@_generated
@given(text=TEXTS)
def test_any_option_is_restored_from_a_dump(one: Site, text: str) -> None:
    if not accepted(one, (*SETI, "options", "compute-0-0", "eth0", "options=TEXT"), text):
        return
    before = one.done("list host interface")
    dumped = one.done("dump host interface")
    one.change("DELETE FROM networks")
    for line in dumped.splitlines():
        one.done(*shlex.split(line)[1:])
    assert one.done("list host interface") == before
