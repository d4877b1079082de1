"""The help of every command: two examples that the command takes, related commands, types."""

from __future__ import annotations

import shlex

import pytest

from rocks.commands._framework.arguments import parse_arguments
from rocks.commands._framework.base import Command
from rocks.commands._framework.declarations import check_given, docstring_of, elements, taken_by
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.errors import BugError

TREES = [OUR_TREE]
COMMANDS = {
    path: load_package(path, TREES).Command
    for path in all_commands(TREES)
    if hasattr(load_package(path, TREES), "Command")
}


def faults_of_examples(path: tuple[str, ...], command: type[Command]) -> list[str]:
    """What is missing in a command's examples, or is not what it takes."""
    found = []
    declared = taken_by(command)
    lines = list(dict.fromkeys(line for line, _ in read_documentation(command).examples))
    if len(lines) < (2 if declared else 1):
        found.append(f"{' '.join(path)}: add a second <example>")
    for line in lines:
        example = shlex.split(line)
        given = parse_arguments(example[1 if " " in example[0] else len(path) :])
        check_given(command(Database(Settings("/nowhere", "", 0, "", "", ""))), given)
        required = [it for it in declared if not it.optional and it.name not in given.parameters]
        if len(given.arguments) < len(required):
            found.append(f"{line}: an argument is missing")
        for it in declared:
            value = given.parameters.get(it.name)
            if value is not None and (
                (it.values and value not in it.values) or (it.type == "int" and not value.isdigit())
            ):
                found.append(f"{line}: {it.name} has another type")
    return found


def test_examples_are_what_a_command_takes() -> None:
    """Two at least, unless it takes nothing."""
    assert [fault for path, command in COMMANDS.items() for fault in faults_of_examples(path, command)] == []


def test_every_command_has_related_commands() -> None:
    missing = [
        " ".join(path) for path, command in COMMANDS.items() if not read_documentation(command).related
    ]
    assert missing == [], "add <related>another command</related>"


def test_every_type_is_known() -> None:
    types = {it.type for command in COMMANDS.values() for it in taken_by(command)}
    assert types <= {"string", "int", "bool"}


def test_shared_parameters_stand_in_place() -> None:
    text = "<arg name='host'>H.</arg><shared command='add widget' names='size,hard'/><example cmd='x'>X.</example>"
    other = (
        "<param type='bool' name='hard'>Hard.</param><param name='other'/><param name='size'>Size.</param>"
    )
    found = elements(text, lambda path: other if list(path) == ["add", "widget"] else "")
    assert [kind for kind, _, _ in found] == ["arg", "param", "param", "example"]
    assert [content for _, _, content in found] == ["H.", "Size.", "Hard.", "X."]
    with pytest.raises(BugError, match="shares size, hard of the help of"):
        elements(text, lambda path: "")


def test_the_rules_of_firewalls_are_explained_once() -> None:
    assert "<shared" in (COMMANDS["add", "host", "firewall"].__doc__ or "")
    explained = {it.name: it.text for it in read_documentation(COMMANDS["add", "firewall"]).parameters}
    shared = read_documentation(COMMANDS["add", "host", "firewall"]).parameters
    assert len(shared) == 10 and all(explained[it.name] == it.text for it in shared)
    assert docstring_of(("add", "firewall")) == COMMANDS["add", "firewall"].__doc__
