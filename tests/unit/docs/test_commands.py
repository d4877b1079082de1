"""Commands that the pages show exist, with the parameters that they show."""

from __future__ import annotations

import shlex

import pytest

from rocks.cli.main import find_command
from rocks.commands._framework.arguments import parse_arguments
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.run_command import FRAMEWORK_PARAMETERS
from rocks.commands._framework.tree import OUR_TREE, load_package
from tests.unit.docs.pages import guides, typed_lines

_PROGRAMS = ("rocks", "bin/rocks")
_TREES = (OUR_TREE,)


def command_words(line: str) -> list[str]:
    """The words behind `rocks` in a typed line; none when it starts another program or only names this one."""
    words = shlex.split(line)
    while words and "=" in words[0]:
        words.pop(0)  # a variable of the environment
    if not words or words[0] not in _PROGRAMS or words[1:2] in ([], ["…"]):
        return []
    return words[1 : words.index("|")] if "|" in words else words[1:]


def shown_commands() -> list[tuple[str, str]]:
    """(page, line) of every command shown."""
    return [
        (page.name, line)
        for page in guides()
        for line in typed_lines(page.read_text("utf-8"))
        if any(program in line.split() for program in _PROGRAMS) and command_words(line)
    ]


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_a_command_that_a_page_shows_exists(page: str, line: str) -> None:
    words, rest = find_command(command_words(line), _TREES)
    command = getattr(load_package(words, _TREES), "Command", None) if words else None

    assert command is not None, f"{page} shows `{line}`, which is no command"
    read = read_documentation(command)
    known = {word.name for word in (*read.parameters, *read.arguments)} | FRAMEWORK_PARAMETERS
    given = [name for name in parse_arguments(rest).parameters if not name.startswith("@")]
    assert [name for name in given if name not in known] == [], f"{page} shows `{line}`"


def test_the_pages_show_commands_at_all() -> None:
    pages = {page for page, _ in shown_commands()}

    assert {"README.md", "operator.md", "roll-author.md"} <= pages
    assert len(shown_commands()) > 50


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bin/rocks list host", ["list", "host"]),
        ("ROCKSDEBUG=1 rocks list host", ["list", "host"]),
        (
            "rocks report host vm config vm-vc1-1 | grep driver",
            ["report", "host", "vm", "config", "vm-vc1-1"],
        ),
        ('rocks "add host vm" h1 vlan=2', ["add host vm", "h1", "vlan=2"]),
        ("rocks …", []),
        ("rocks", []),
        ("make demo", []),
    ],
)
def test_words_of_a_typed_line(line: str, words: list[str]) -> None:
    assert command_words(line) == words


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert find_command(["sync", "config"], _TREES)[0] != ["sync", "config"]
