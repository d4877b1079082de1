"""Conditions: what they mean, and what is refused without being evaluated."""

import pytest

from rocks.core.errors import StateError
from rocks.install.graph.conditions import applies, holds
from rocks.install.graph.records import Selection
from tests.unit.install.graph.hosts import context

_ATTRIBUTES = {"kvm": "yes", "off_word": "No", "Number": "6", "part": "1.5", "word": "linux", "empty": ""}


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "kvm",
        "KVM",
        "not off_word",
        "not absent",
        "absent == None",
        "number == 6",
        "number > 5 and number <= 6",
        "5 < number < 7",
        "part >= 1.5",
        "word == 'linux'",
        'word != "sunos"',
        "kvm == 'true'",
        "kvm == True",
        "off_word == 'off'",
        "word in ('linux', 'sunos')",
        "number not in [1, -2]",
        "absent or kvm",
        "not (absent and kvm)",
        "empty == ''",
        "not empty",
    ],
)
def test_a_condition_that_holds(condition: str) -> None:
    assert holds(condition, _ATTRIBUTES)


@pytest.mark.parametrize(
    "condition",
    [
        "off_word",
        "absent",
        "number == 7",
        "absent < 1",
        "absent > 1",
        "word < 5",
        "word in ('sunos',)",
        "kvm and absent",
        "1 < number < 3",
    ],
)
def test_a_condition_that_does_not_hold(condition: str) -> None:
    assert not holds(condition, _ATTRIBUTES)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("__import__('os').system('x')", "Call"),
        ("kvm.__class__", "Attribute"),
        ("kvm[0]", "Subscript"),
        ("[x for x in kvm]", "ListComp"),
        ("lambda: 1", "Lambda"),
        ("number + 1 == 7", "BinOp"),
        ("imgstorage-network", "a dash in its name"),
        ("kvm is True", "Is"),
        ("f'{kvm}'", "JoinedStr"),
        ("kvm if absent else kvm", "IfExp"),
        ("(y := 1)", "NamedExpr"),
        ("b'x' == kvm", "Constant"),
        ("word in word", "Name"),
        ("kvm = 1", "cannot be read"),
        ("and", "cannot be read"),
        ("(" * 300 + "kvm" + ")" * 100, "cannot be read"),
        ("\0", "cannot be read"),
        ("not " * 130 + "kvm", "longer than 500"),
    ],
)
def test_what_no_condition_may_have_is_named(condition: str, message: str) -> None:
    with pytest.raises(StateError, match="condition") as caught:
        holds(condition, _ATTRIBUTES)
    assert message in str(caught.value)


def test_systems_are_alternatives_and_all_conditions_must_hold() -> None:
    host = context(kvm="yes", release="9")
    fitting = Selection(arch=("i386", "x86_64"), os=("linux",), release=("9",), condition="kvm")

    assert applies([fitting, Selection()], host)
    assert not applies([fitting, Selection(os=("sunos",))], host)
    assert not applies([Selection(release=("7", "8"))], host)
    assert not applies([Selection(release=("7",))], context())
