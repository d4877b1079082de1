"""Commands that the pages show exist, with the parameters that they show."""

import shlex

import pytest

from rocks.cli.main import find_command
from rocks.commands._framework.arguments import parse_arguments
from rocks.commands._framework.declarations import GENERAL_PARAMETERS
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, load_package
from tests.unit.docs.pages import CHECKOUT, guides, typed_lines

_PROGRAMS = ("rocks", "bin/rocks")
_TREES = (OUR_TREE, str(CHECKOUT / "roll/pragma/commands"))


def command_arguments(line: str) -> list[str]:
    """The arguments behind `rocks` in a typed line; none when it starts another program or only names this one."""
    arguments = shlex.split(line, comments=True)
    while arguments and "=" in arguments[0]:
        arguments.pop(0)  # a variable of the environment
    if not arguments or arguments[0] not in _PROGRAMS or arguments[1:2] in ([], ["…"]):
        return []
    return arguments[1 : arguments.index("|")] if "|" in arguments else arguments[1:]


def quoted_commands() -> list[tuple[str, str]]:
    """(page, line) of every command shown."""
    return [
        (page.name, line)
        for page in guides()
        for line in typed_lines(page.read_text("utf-8"))
        if any(program in line.split() for program in _PROGRAMS) and command_arguments(line)
    ]


def unknown_parts(line: str) -> list[str]:
    """What of a typed line does not exist: the command, or parameters of it."""
    arguments, rest = find_command(command_arguments(line), _TREES)
    command = getattr(load_package(arguments, _TREES), "Command", None) if arguments else None
    if command is None:
        return ["the command"]
    read = read_documentation(command)
    known = {word.name for word in (*read.parameters, *read.arguments)}
    known |= {*GENERAL_PARAMETERS, "format"}  # of every command's help
    given = [name for name in parse_arguments(rest).parameters if not name.startswith("@")]
    return [name for name in given if name not in known]


def test_every_command_that_a_page_shows_exists() -> None:
    offenders = [
        f"{page} shows `{line}`: no {', '.join(unknown)}"
        for page, line in quoted_commands()
        if (unknown := unknown_parts(line))
    ]
    assert offenders == []


def test_the_pages_show_commands_at_all() -> None:
    pages = {page for page, _ in quoted_commands()}

    assert {"README.md", "operator.md", "roll-author.md"} <= pages
    assert len(quoted_commands()) > 50


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("bin/rocks list host", ["list", "host"]),
        ("ROCKSDEBUG=1 rocks list host", ["list", "host"]),
        (
            "rocks report host vm config vm-vc1-1 | grep driver",
            ["report", "host", "vm", "config", "vm-vc1-1"],
        ),
        ('rocks "add host vm" h1 vlan=2', ["add host vm", "h1", "vlan=2"]),
        ("rocks list host            # the site's hosts", ["list", "host"]),
        ("rocks …", []),
        ("rocks", []),
        ("make demo", []),
    ],
)
def test_arguments_of_a_typed_line(line: str, arguments: list[str]) -> None:
    assert command_arguments(line) == arguments


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert find_command(["sync", "nothing"], _TREES)[0] != ["sync", "nothing"]
