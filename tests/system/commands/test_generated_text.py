"""Any text in any parameter is stored and printed exactly, or rejected with one line and without a change."""

import json
import shlex

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.generated import examples
from tests.system.commands.conftest import Ended, Site
from tests.system.commands.site.test_attributes import read_by_shell

pytestmark = pytest.mark.slow

NASTY = [
    "'; DROP TABLE nodes; --",
    '"$(reboot)`reboot`"',
    "<a>&amp;</a>]]>",
    "%s%(x)s{0}%",
    "a\nb\r\n\tc",
    "\\",
    "\\%_",
    "é東\u2028\U0001f600",
    "x" * 300,
    "x" * 70_000,
    " private ",
    "PRIVATE",
    "0",
    "-1",
    "1e3",
    "NULL",
    "yes",
    "rack0",
    "localhost",
    "select Name from nodes where 1=1",
    "10.1.0.0",
    "255.255.255.0",
    "host.example.org",
]
text = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.text("abz09.-_:/ %'", max_size=12),
)
"""Text of a command line: UTF-8 without NUL."""

generated = settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(site: Site, *arguments: str, before: list[tuple[object, ...]] | None = None) -> Ended | None:
    """Run a command; None when it was rejected correctly. `before`: the contents, if they are known."""
    before = before or site.contents()
    ended = site.rocks(*arguments)
    if ended.status == 0:
        assert ended.err == "", ended
        return ended
    lines = ended.err.splitlines()
    assert (ended.status, ended.out) == (1, ""), ended
    assert lines[0].startswith("Error: "), ended
    assert lines[1:] == [line for line in lines[1:] if line.startswith("rocks ")][:1], ended
    assert "has a fault" not in lines[0], ended
    assert "database refused" not in lines[0], ended
    assert site.contents() == before, ended
    return None


def listed(site: Site, *arguments: str) -> dict[str, dict[str, object]]:
    """Owner → its one row, of a listing."""
    rows = json.loads(site.done(*arguments, "json=yes"))
    owner, kind = list(rows[0]) if rows else ("", "")
    return {row[owner]: row[kind][0] for row in rows}


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


@generated
@given(value=text)
def test_values_of_attributes_as_arguments(site: Site, value: str) -> None:
    if run(site, "set", "attr", "text", value) is not None:
        assert listed(site, "list", "attr")["text"] == {"value": value}


@generated
@given(name=text)
def test_names_of_attributes(site: Site, name: str) -> None:
    if run(site, "add", "attr", f"attr={name}", "value=1") is not None:
        assert listed(site, "list", "attr")[name] == {"value": "1"}
        (arguments,) = [line for line in read_by_shell(site.done("dump attr")) if line[3] == name]
        site.done("remove attr", name)
        site.done(shlex.join(arguments[1:]))
        site.done("remove attr", name)
    assert run(site, "remove", "attr", f"attr={name}") is not None or name == ""


@generated
@given(name=text)
@example(name="0=")
def test_names_that_are_searched(site: Site, name: str) -> None:
    site.rocks("add host compute-0-0")
    before = site.contents()
    for arguments in (
        ("list", "network", name),
        ("list", "os", "attr", name),
        ("list", "appliance", name),
        ("list", "appliance", "attr", name),
        ("list", "membership", name),
        ("list", "distribution", name),
        ("dump", "network", name),
        ("report", "host", "attr", "compute-0-0", f"attr={name}"),
        ("remove", "os", "attr", name, "nothing"),
        ("remove", "appliance", "attr", name, "nothing"),
        ("add", "appliance", "attr", name, "text", "value=1"),
    ):
        run(site, *arguments, before=before)
    site.rocks("remove appliance attr % text")
    assert site.contents() == before


@generated
@given(place=st.sampled_from(["name", "subnet", "netmask", "mtu", "dnszone", "servedns"]), value=text)
def test_new_networks(site: Site, place: str, value: str) -> None:
    parameters = {"name": "ib", "subnet": "10.5.0.0", "netmask": "255.255.0.0", place: value}
    if run(site, "add", "network", *(f"{name}={given}" for name, given in parameters.items())) is None:
        return
    row = {**listed(site, "list", "network")[parameters["name"]], "name": parameters["name"]}
    if place not in ("servedns", "mtu") and value:
        assert row[place] == value
    if place == "mtu" and value:
        assert row["mtu"] == int(value)
    dumped = [line for line in read_by_shell(site.done("dump network")) if line[3] == parameters["name"]]
    site.done("remove network", parameters["name"])
    site.done(shlex.join(dumped[0][1:]))
    assert {**listed(site, "list", "network")[parameters["name"]], "name": parameters["name"]} == row
    site.done("remove network", parameters["name"])


@generated
@given(place=st.sampled_from(["subnet", "netmask", "mtu", "zone", "servedns"]), value=text)
@example(place="subnet", value="0=")  # a parameter that the command does not know
def test_changed_networks(site: Site, place: str, value: str) -> None:
    if run(site, "set", "network", place, "private", f"{place}={value}") is not None:
        row = listed(site, "list", "network", "private")["private"]
        if place in ("subnet", "netmask", "zone"):
            assert row["dnszone" if place == "zone" else place] == value
    run(site, "set", "network", place, value, f"{place}=9000")


@generated
@given(
    place=st.sampled_from(["appliance", "membership", "node", "graph", "public", "os", "distribution"]),
    value=text,
)
def test_new_appliances(site: Site, place: str, value: str) -> None:
    parameters = {"membership": "Viz Tile", place: value}
    name = parameters.pop("appliance", "tile")
    assume(name not in ("help", "--help", "-h"))
    if run(site, "add", "appliance", name, *(f"{key}={given}" for key, given in parameters.items())) is None:
        return
    appliance = listed(site, "list", "appliance")[name]
    membership = listed(site, "list", "membership")[parameters["membership"]]
    assert membership["appliance"] == name
    if place in ("node", "graph"):
        assert (appliance[place] or "") == value
    dumped = [line for line in read_by_shell(site.done("dump appliance")) if line[3] == name]
    site.done("remove appliance", name)
    site.done(shlex.join(dumped[0][1:]))
    assert listed(site, "list", "appliance")[name] == appliance
    assert listed(site, "list", "membership")[parameters["membership"]] == membership
    site.done("remove appliance", name)
