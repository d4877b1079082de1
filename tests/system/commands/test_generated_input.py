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
from tests.system.commands.any_text import generated, run, text
from tests.system.commands.conftest import Site
from tests.system.commands.site.test_attributes import read_by_shell

MAC = "00:11:22:33:44:55"

TEXTS = (
    text
    | st.sampled_from(("install", "os"))
    | st.text(max_size=300)
    | st.text("ab0-._:/ '\"<&;$`\\%\n\0", max_size=12)
)
"""Also what no command line can have, but a program that calls a command."""


def same(text: str) -> object:
    """The listing's value for one that is stored unchanged."""
    return text


def same_or_cleared(text: str) -> object:
    """As `same`; None for the value that clears."""
    return None if text.lower() == "null" else text


def same_or_none(text: str) -> object:
    """As `same`; None for the word none."""
    return None if text.lower() == "none" else text


def same_or_nothing(text: str) -> object:
    """As `same`; None for the empty text."""
    return text or None


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
ATTR = ("list", "attr")
NET = ("list", "network")
APPLIANCE = ("list", "appliance")

NEW = ("add", "host", "new", "membership=compute", "rack=9", "rank=9")
ETH9 = ("add", "host", "interface", "compute-0-0", "eth9")
SET = ("set", "host")
SETI = ("set", "host", "interface")
ACTION = ("add", "bootaction", "action=fuzzed")
NETWORK = ("name=ib", "subnet=10.5.0.0", "netmask=255.255.0.0")

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
    Case((*SET, "runaction", "compute-0-0", "action=TEXT"), HOST, "runaction", same_or_none),
    Case((*SET, "installaction", "compute-0-0", "action=TEXT"), HOST, "installaction", same_or_none),
    Case((*SET, "boot", "compute-0-0", "action=TEXT"), ("list", "host", "boot", "%"), "action"),
    Case(("add", "host", "alias", "compute-0-0", "name=TEXT"), ("list", "host", "alias", "%"), "alias"),
    Case(("add", "bootaction", "action=TEXT", "kernel=k"), BOOT, "action"),
    Case((*ACTION, "kernel=TEXT"), BOOT, "kernel", same_or_nothing),
    Case((*ACTION, "ramdisk=TEXT"), BOOT, "ramdisk", same_or_nothing),
    Case((*ACTION, "args=TEXT"), BOOT, "args", same_or_nothing),
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
    Case(("set", "attr", "text", "TEXT"), ATTR, "value"),
    Case(("add", "attr", "attr=TEXT", "value=1"), ATTR, "attr"),
    Case(("add", "network", "name=TEXT", *NETWORK[1:]), NET, "network"),
    Case(("add", "network", NETWORK[0], "subnet=TEXT", NETWORK[2]), NET, "subnet"),
    Case(("add", "network", *NETWORK[:2], "netmask=TEXT"), NET, "netmask"),
    Case(("add", "network", *NETWORK, "mtu=TEXT"), NET, "mtu", number),
    Case(("add", "network", *NETWORK, "dnszone=TEXT"), NET, "dnszone", lambda text: text or "ib"),
    Case(("add", "network", *NETWORK, "servedns=TEXT"), NET, "network", lambda text: "ib"),
    *(
        Case(("set", "network", place, "private", f"{place}=TEXT"), NET, column, expected)
        for place, column, expected in (
            ("subnet", "subnet", same),
            ("netmask", "netmask", same),
            ("mtu", "mtu", number),
            ("zone", "dnszone", same),
            ("servedns", "network", lambda text: "private"),
        )
    ),
    Case(("add", "appliance", "appliance=TEXT", "membership=Viz Tile"), APPLIANCE, "appliance"),
    *(
        Case(("add", "appliance", "tile", f"{place}=TEXT"), listing, column, expected)
        for place, listing, column, expected in (
            ("membership", ("list", "membership"), "member", same),
            ("node", APPLIANCE, "node", same),
            ("graph", APPLIANCE, "graph", same),
            ("public", APPLIANCE, "appliance", lambda text: "tile"),
            ("os", APPLIANCE, "appliance", lambda text: "tile"),
            ("distribution", APPLIANCE, "appliance", lambda text: "tile"),
        )
    ),
)

_generated = settings(
    max_examples=examples(6),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


TABLES = (
    *("nodes", "networks", "node_routes", "aliases", "bootaction", "attributes", "catindex"),
    *("subnets", "appliances", "memberships"),
)
"""Those that the commands of the cases change."""


@pytest.fixture
def one(site: Site) -> Site:
    """compute-0-0 with one interface."""
    site.done("add host compute-0-0")
    site.done("add host interface compute-0-0 eth0", f"mac={MAC}")
    site.database.execute("SET FOREIGN_KEY_CHECKS = 0")
    for table in TABLES:
        site.database.execute(f"CREATE TEMPORARY TABLE one_{table} AS SELECT * FROM {table}")
    site.database.commit()
    return site


def accepted(site: Site, template: tuple[str, ...], given_text: str) -> bool:
    """Run the command with the text; whether it succeeded."""
    if "TEXT" in template:
        assume(given_text not in HELP_ARGUMENTS and not parse_arguments([given_text]).parameters)
    return run(site, *(part.replace("TEXT", given_text) for part in template)) is not None


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
    for table in TABLES:
        site.change(f"DELETE FROM {table}")
        site.change(f"INSERT INTO {table} SELECT * FROM one_{table}")


@pytest.mark.slow
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


@pytest.mark.slow
@generated
@given(
    scope_and_member=st.sampled_from([("host", "compute-0-0"), ("appliance", "compute"), ("os", "linux")]),
    value=text,
)
@example(scope_and_member=("host", "compute-0-0"), value="x" * 65535)
@example(scope_and_member=("os", "linux"), value="\x01\x7f\x81\x88")
def test_values_of_attributes(site: Site, scope_and_member: tuple[str, str], value: str) -> None:
    site.rocks("add host compute-0-0")
    scope, member = scope_and_member
    if run(site, "set", scope, "attr", member, "attr=text", f"value={value}") is None:
        assert value == "" or len(value.encode()) > 65535
        return
    (_, rows) = json.loads(site.done("list", scope, "attr", member, "json=yes"))[0].values()
    assert [row["value"] for row in rows if row["attr"] == "text"] == [value]
    assert site.done("report host attr compute-0-0 attr=text") == f"{value}\n"
    (arguments,) = [
        line for line in read_by_shell(site.done("dump", scope, "attr", member)) if line[5] == "text"
    ]
    assert arguments[:5] == ["rocks", "add", scope, "attr", member]
    site.done("remove", scope, "attr", "%", "text")
    site.done(shlex.join(arguments[1:]))
    assert site.done("report host attr compute-0-0 attr=text") == f"{value}\n"
    site.done("remove", scope, "attr", "%", "text")
