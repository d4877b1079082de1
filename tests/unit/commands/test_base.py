"""What the base class gives to commands: words, defaults, outputs (specification §1.3)."""

from __future__ import annotations

from typing import cast

import pytest

from rocks.commands._framework.base import Command
from rocks.commands._framework.names import NameExpansion
from rocks.database.connection import Database
from rocks.errors import BugError, UserError


def with_words(*words: str) -> Command:
    """A command that was called with these words."""
    from rocks.commands._framework.arguments import parse_arguments

    command = Command(cast("Database", None))
    parted = parse_arguments(list(words))
    command.useArguments(parted.parameters, parted.arguments)
    return command


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("h1", "h2", "eth0", "1.2.3.4"), [["h1", "h2"], "eth0", "1.2.3.4"]),
        (("h1", "h2", "iface=eth0", "1.2.3.4"), [["h1", "h2"], "eth0", "1.2.3.4"]),
        (("h1", "h2", "eth0", "ip=1.2.3.4"), [["h1", "h2"], "eth0", "1.2.3.4"]),
        (("h1", "h2", "iface=eth0", "ip=1.2.3.4"), [["h1", "h2"], "eth0", "1.2.3.4"]),
        (("h1", "iface=", "eth0", "1.2.3.4"), [["h1"], "eth0", "1.2.3.4"]),
        (("eth0", "1.2.3.4"), [[], "eth0", "1.2.3.4"]),
        (("1.2.3.4",), [[], None, "1.2.3.4"]),
        ((), [[], None, None]),
        (("iface=eth0",), [[], "eth0", None]),
        (("h1", "", ""), [["h1"], "", ""]),
    ],
)
def test_positional_values_come_from_the_end_unless_they_are_named(
    words: tuple[str, ...], expected: list[object]
) -> None:
    assert with_words(*words).fillPositionalArgs(("iface", "ip")) == expected


def test_filling_does_not_use_words_up() -> None:
    command = with_words("h1", "eth0")
    assert command.fillPositionalArgs(("iface",)) == command.fillPositionalArgs(("iface",))


def test_parameters_are_text_or_their_default() -> None:
    command = with_words("cpus=4", "rack=")
    assert command.fillParams([("cpus", 1), ("rack", 0), ("rank", None)]) == ["4", "", None]


def test_a_flag_is_yes_or_no_or_its_default() -> None:
    command = with_words("a=Yes", "b=0", "c=perhaps")
    assert (command.fillFlag("a"), command.fillFlag("b", True), command.fillFlag("d", True)) == (
        True,
        False,
        True,
    )
    with pytest.raises(UserError, match='"c" must be yes or no, not "perhaps"'):
        command.fillFlag("c")


def test_abort_is_an_error_of_the_user() -> None:
    with pytest.raises(UserError, match="no such thing"):
        Command(cast("Database", None)).abort("no such thing")


def test_a_command_without_run_is_a_fault_of_its_author() -> None:
    with pytest.raises(BugError, match="has no run method; its author must add one"):
        Command(cast("Database", None)).run({}, [])


def test_text_is_gathered_and_parts_are_not_shown_by_a_nested_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = with_words()
    command.addText("a\n")
    command.showNow("b\n")
    command.notify("c")
    assert command.getText() == "a\nb\n"
    assert capsys.readouterr() == ("", "")


def test_parts_of_the_output_and_lines_for_a_person_are_shown_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = with_words()
    command.useArguments({}, [], stream=True)
    command.showNow("b\n")
    command.notify("c")
    assert (command.getText(), capsys.readouterr()) == ("", ("b\n", "c\n"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, ["linux", "sunos"]),
        ([], ["linux", "sunos"]),
        (["sunos"], ["sunos"]),
        (["SunOS", "LINUX", "linux"], ["linux", "sunos"]),
        (["%"], ["linux", "sunos"]),
        (["%n%"], ["linux", "sunos"]),
        (["l%x"], ["linux"]),
    ],
)
def test_operating_systems(names: list[str] | None, expected: list[str]) -> None:
    assert NameExpansion().getOSNames(names) == expected


@pytest.mark.parametrize("name", ["beos", "", "x%", "linux.", "%linux%%x"])
def test_an_unknown_operating_system(name: str) -> None:
    with pytest.raises(UserError) as caught:
        NameExpansion().getOSNames(["linux", name])
    assert str(caught.value).startswith(f'unknown os "{name}"')
