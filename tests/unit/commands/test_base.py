"""The base class of commands: arguments, defaults, output."""

from typing import cast

import pytest

from rocks.commands._framework.base import Command
from rocks.commands._framework.name_expansion import NameExpansion
from rocks.core.errors import BugError, UserError
from rocks.database.connection import Database


def called_with(*texts: str) -> Command:
    """A command that was called with these arguments and parameters."""
    from rocks.commands._framework.arguments import parse_arguments

    command = Command(cast("Database", None))
    parsed = parse_arguments(list(texts))
    command.useArguments(parsed.parameters, parsed.arguments)
    return command


@pytest.mark.parametrize(
    ("texts", "expected"),
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
    texts: tuple[str, ...], expected: list[object]
) -> None:
    command = called_with(*texts)
    assert command.fillPositionalArgs(("iface", "ip")) == expected
    assert command.splitArguments(("iface", "ip")) == (expected[0], expected[1:])


def test_parameters_are_text_or_their_default() -> None:
    command = called_with("cpus=4", "rack=")
    assert command.fillParams([("cpus", 1), ("rack", 0), ("rank", None)]) == ["4", "", None]


def test_one_argument_and_the_rest() -> None:
    assert called_with("h1", "h2", "x").fillArgument("ip") == (["h1", "h2"], "x")
    assert called_with("h1", "ip=x").fillArgument("ip") == (["h1"], "x")
    assert called_with().fillArgument("ip") == ([], None)


def test_required_arguments() -> None:
    assert called_with("h1", "eth0", "ip=x").requireArguments("iface", "ip") == (["h1"], ["eth0", "x"])


@pytest.mark.parametrize(
    ("texts", "missing"),
    [
        ((), "iface"),
        (("ip=x",), "iface"),
        (("a",), 'iface, besides ip "a"'),
        (("a", ""), 'ip, besides iface "a"'),
        (("", "a"), 'iface, besides ip "a"'),
        (("a" * 99,), f'iface, besides ip "{"a" * 79}…"'),
    ],
)
def test_a_required_argument_that_is_missing_or_empty_is_named(texts: tuple[str, ...], missing: str) -> None:
    with pytest.raises(UserError, match=f"^must supply {missing}$"):
        called_with(*texts).requireArguments("iface", "ip")


def test_texts_of_parameters() -> None:
    command = called_with("cpus=4", "rack=")
    assert (command.fillText("cpus", "1"), command.fillText("rack", "1"), command.fillText("rank", "1")) == (
        "4",
        "",
        "1",
    )
    assert command.fillText("rank") is None
    assert command.fillTexts("cpus", "rack", "rank") == ["4", "", None]


def test_a_flag_is_yes_or_no_or_its_default() -> None:
    command = called_with("a=Yes", "b=0", "c=perhaps")
    assert (command.fillFlag("a"), command.fillFlag("b", True), command.fillFlag("d", True)) == (
        True,
        False,
        True,
    )
    with pytest.raises(UserError, match='"c" must be yes or no, not "perhaps"'):
        command.fillFlag("c")


def test_one_name_alone_is_a_list_of_one_as_in_rocks() -> None:
    command = called_with("h1", "example.org", "flags=-v")
    assert command.fillPositionalArgs("zone") == [["h1"], "example.org"]
    assert (
        command.fillParams("flags")
        == command.fillParams(["flags"])
        == command.fillParams([("flags",)])
        == ["-v"]
    )
    assert command.fillParams(["flags", ("other",), ("last", "1")]) == ["-v", None, "1"]


def test_abort_raises_a_user_error() -> None:
    with pytest.raises(UserError, match="no such thing"):
        Command(cast("Database", None)).abort("no such thing")


def test_a_command_without_run_is_a_bug() -> None:
    with pytest.raises(BugError, match="has no run method; its author must add one"):
        Command(cast("Database", None)).run({}, [])


def test_a_nested_command_collects_text_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    command = called_with()
    command.addText("a\n")
    command.showNow("b\n")
    command.notify("c")
    assert command.getText() == "a\nb\n"
    assert capsys.readouterr() == ("", "")


def test_parts_of_the_output_and_notices_are_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    command = called_with()
    command.useArguments({}, [], stream=True)
    command.showNow("b\n")
    command.notify("c")
    assert (command.getText(), capsys.readouterr()) == ("", ("b\n", "c\n"))


class _Names(NameExpansion):
    command_path = ("list", "os")


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
    assert _Names().getOSNames(names) == expected


@pytest.mark.parametrize("name", ["beos", "", "x%", "linux.", "%linux%%x"])
def test_an_unknown_operating_system(name: str) -> None:
    with pytest.raises(UserError) as caught:
        _Names().getOSNames(["linux", name])
    assert str(caught.value).startswith(f'unknown os "{name}"')
