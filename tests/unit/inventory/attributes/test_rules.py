"""Scopes of attributes and which wins."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.inventory.attributes import rules as attributes
from rocks.inventory.attributes.known import KNOWN, value_in
from rocks.inventory.attributes.rules import (
    NAME_LONGEST,
    SOURCE_LETTERS,
    VALUE_LONGEST_BYTES,
    Member,
    Resolved,
    Stored,
    check_name,
    check_value,
    is_old,
    known_spelling,
    resolve,
)

HOST = Member("compute-0-0", "linux", "compute", "Compute", "0", "7", "")
FORCED = {"version": "1.2.3"}
PRECEDENCE = {"global": 10, "os": 20, "appliance": 30, "rack": 40, "host": 50}


def stored(scope: str, member: str, name: str, value: str) -> Stored:
    return Stored(scope, member, PRECEDENCE[scope], name, value)


def resolve_one(*rows: Stored, member: Member = HOST) -> dict[str, Resolved]:
    return resolve([member], rows, FORCED)[member.hostname]


def test_intrinsic_and_forced_attributes_are_always_there() -> None:
    assert resolve_one() == {
        "hostname": Resolved("compute-0-0", "I"),
        "rack": Resolved("0", "I"),
        "rank": Resolved("7", "I"),
        "appliance": Resolved("compute", "I"),
        "membership": Resolved("Compute", "I"),
        "version": Resolved("1.2.3", "G"),
    }


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (("global",), Resolved("global", "G")),
        (("global", "os"), Resolved("os", "O")),
        (("appliance", "os", "global"), Resolved("appliance", "A")),
        (("host", "appliance", "os", "global"), Resolved("host", "H")),
    ],
)
def test_the_narrower_scope_wins_whatever_the_order_of_rows(
    scopes: tuple[str, ...], expected: Resolved
) -> None:
    members = {"global": "global", "os": "linux", "appliance": "compute", "host": "compute-0-0"}
    assert resolve_one(*(stored(s, members[s], "kvm", s) for s in scopes))["kvm"] == expected


def test_the_precedence_of_the_scopes_is_the_one_that_is_stored() -> None:
    found = resolve_one(
        Stored("host", "compute-0-0", 5, "kvm", "host"),
        Stored("global", "global", 10, "KVM", "global"),
        Stored("os", "linux", 10, "kvm", "os"),
    )
    assert found["kvm"] == Resolved("os", "O")


def test_members_are_compared_without_case_and_others_are_left_out() -> None:
    found = resolve_one(
        stored("appliance", "COMPUTE", "a", "1"),
        stored("host", "compute-0-1", "b", "1"),
        stored("os", "sunos", "c", "1"),
        stored("rack", "0", "d", "1"),
    )
    assert found["a"].value == "1"
    assert not {"b", "c", "d"} & set(found)


def test_a_stored_attribute_beats_an_intrinsic_one_and_loses_to_a_forced_one() -> None:
    found = resolve_one(
        stored("global", "global", "rack", "9"), stored("host", "compute-0-0", "version", "9")
    )
    assert found["rack"] == Resolved("9", "G")
    assert found["version"] == Resolved("1.2.3", "G")


def test_the_architecture_of_the_node_cannot_be_overridden() -> None:
    member = HOST._replace(arch="x86_64")
    found = resolve_one(stored("host", "compute-0-0", "arch", "vax"), member=member)
    assert found["arch"] == Resolved("x86_64", "G")
    assert resolve_one(stored("host", "compute-0-0", "arch", "vax"))["arch"] == Resolved("vax", "H")


def test_names_that_differ_in_case_are_one_attribute() -> None:
    found = resolve_one(
        stored("global", "global", "KVM", "a"),
        stored("host", "compute-0-0", "Kvm", "b"),
        stored("global", "global", "Mine", "a"),
        stored("appliance", "compute", "MINE", "b"),
        stored("global", "global", "Hostname", "other"),
    )
    assert found["kvm"] == Resolved("b", "H")
    assert found["MINE"] == Resolved("b", "A")
    assert found["hostname"] == Resolved("other", "G")
    assert not {"KVM", "Kvm", "Mine", "Hostname"} & set(found)


def test_every_member_gets_its_own() -> None:
    members = [HOST, HOST._replace(hostname="nas-0-0", appliance="nas", os="sunos")]
    rows = [stored("host", "nas-0-0", "x", "1"), stored("os", "linux", "y", "2")]
    found = resolve(members, rows, {})
    assert ("x" in found["compute-0-0"], "y" in found["compute-0-0"]) == (False, True)
    assert ("x" in found["nas-0-0"], "y" in found["nas-0-0"]) == (True, False)


def test_the_spelling_of_what_the_system_reads() -> None:
    assert known_spelling("hvm_features") == "HVM_Features"
    assert known_spelling("My_Own") == "My_Own"


@pytest.mark.parametrize(
    "name", ["a", "_x", "Kickstart_PublicGateway", "kvm_device_0", "a.b-c", "x" * NAME_LONGEST]
)
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "0a", "-a", "a b", "a\n", "a=b", "é", "a'", "a;b", "<a>", "x" * (NAME_LONGEST + 1), "help", "HELP"],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UserError, match=r'^attribute ".*" is not valid: '):
        check_name(name)


def test_an_old_value_leaves_space_for_its_suffix() -> None:
    longest = "x" * NAME_LONGEST + "_old"
    check_name(longest)
    assert is_old(longest)
    assert is_old("kvm_OLD")
    assert not is_old("kvm_older")


def sources_with(*texts: str) -> Iterator[ast.Module]:
    """The modules of the programs that have one of the texts."""
    for path in Path(attributes.__file__).parents[2].rglob("*.py"):
        source = path.read_text()
        if any(text in source for text in texts):
            yield ast.parse(source)


@pytest.mark.slow
def test_every_attribute_that_the_programs_read_is_known() -> None:
    read = {
        str(call.args[0].value)
        for module in sources_with(".attribute(", ".is_true(")
        for call in ast.walk(module)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("attribute", "is_true")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert {"kvm", "cpu_mode"} <= read
    assert read <= set(KNOWN)
    assert {known.scope for known in KNOWN.values()} <= set(SOURCE_LETTERS)


def test_every_constant_with_the_name_of_an_attribute_names_a_known_one() -> None:
    named = {
        str(assigned.value.value)
        for module in sources_with("_ATTRIBUTE")
        for assigned in module.body
        if isinstance(assigned, ast.Assign)
        and isinstance(assigned.value, ast.Constant)
        and str(getattr(assigned.targets[0], "id", "")).endswith("_ATTRIBUTE")
        and not str(assigned.value.value).startswith("trusted.")  # of a file
    }
    assert {"vm_image", "img_grace_hours"} <= named
    assert named <= set(KNOWN)


def test_the_value_of_an_attribute_is_its_default_where_nothing_is_stored() -> None:
    assert value_in({}, "ssh_port") == value_in({"ssh_port": ""}, "ssh_port") == "22"
    assert value_in({"ssh_port": "2022"}, "ssh_port") == "2022"
    assert value_in({}, "an_attribute_of_the_site") == ""


def test_a_value_is_any_text_that_fits() -> None:
    check_value("")
    check_value("'\"\n\t<&>;é")
    check_value("é" * (VALUE_LONGEST_BYTES // 2))
    with pytest.raises(UserError, match=f"is too long: {VALUE_LONGEST_BYTES + 1} bytes"):
        check_value("x" * (VALUE_LONGEST_BYTES + 1))
