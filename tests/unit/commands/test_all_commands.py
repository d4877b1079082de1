"""What must be true of every command in our tree."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest

from rocks.commands._framework.base import Command
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package, longest_prefix

TREES = [OUR_TREE]
PACKAGES = list(all_commands(TREES))
COMMANDS = [
    command_path for command_path in PACKAGES if hasattr(load_package(command_path, TREES), "Command")
]

FOR_EVERYBODY = ("list", "report", "dump", "help")
NOT_FOR_EVERYBODY = {
    ("list", "host", "profile"),
    ("list", "host", "installfile"),
    ("report", "host", "profile"),  # it shows all attributes that nodes name
    ("list", "host", "install"),  # its table has the numbers of installations, which are secrets
    ("list", "host", "certificate"),  # read from the authority's folder, which is closed to others
    ("list", "audit"),  # who did what
    ("list", "site"),  # it asks all hosts
    ("report", "metrics"),  # so does this one
    ("report", "host", "vm", "console"),  # what a guest shows is its owner's
    ("report", "host", "vm", "screen"),
    ("list", "sec_attr"),  # secrets: the tables are closed to others
    ("list", "host", "sec_attr"),
    ("dump", "sec_attr"),
    ("dump", "host", "sec_attr"),
    ("list", "audit"),  # persons, and what they did
    ("report", "host", "vm", "console"),  # what is on the consoles of owners
    ("report", "host", "vm", "screen"),
}
ALSO_FOR_EVERYBODY = {
    ("run", "host"),
    ("check", "graph"),
    ("create", "keys"),
    ("create", "roll"),  # the work of a roll's author
    ("create", "package"),
    ("create", "new", "roll"),
    ("iterate", "host"),
    ("shell",),  # each of its lines is permitted or not
    ("open", "host", "console"),
    ("set", "host", "power"),
    ("set", "host", "cdrom"),
    ("set", "cluster", "power"),
}


def named(command_path: tuple[str, ...]) -> str:
    return " ".join(command_path)


def command_of(command_path: tuple[str, ...]) -> type[Command]:
    command: type[Command] = load_package(command_path, TREES).Command
    return command


@pytest.mark.parametrize("command_path", COMMANDS, ids=named)
def test_who_may_run_it(command_path: tuple[str, ...]) -> None:
    """Specification §1.4."""
    everybody = command_path in ALSO_FOR_EVERYBODY or (
        command_path[0] in FOR_EVERYBODY and command_path not in NOT_FOR_EVERYBODY
    )
    assert bool(command_of(command_path).MustBeRoot) is not everybody


@pytest.mark.parametrize("command_path", COMMANDS, ids=named)
def test_its_help_describes_it_and_each_argument(command_path: tuple[str, ...]) -> None:
    documentation = read_documentation(command_of(command_path))
    assert documentation.description.endswith(".")
    assert "<" not in documentation.description, "an element of the docstring is not closed"
    for declared in (*documentation.arguments, *documentation.parameters):
        assert declared.name, documentation.raw
        assert declared.text, f"{declared.name} is not explained"


@pytest.mark.parametrize("command_path", COMMANDS, ids=named)
def test_its_examples_are_of_itself(command_path: tuple[str, ...]) -> None:
    documentation = read_documentation(command_of(command_path))
    assert documentation.examples
    for command_line, text in documentation.examples:
        example = shlex.split(command_line)
        quoted = example[0].split()
        found = tuple(quoted) if len(quoted) > 1 else tuple(example[: longest_prefix(example, TREES)])
        assert found == command_path
        assert text


@pytest.mark.parametrize("command_path", COMMANDS, ids=named)
def test_related_commands_exist(command_path: tuple[str, ...]) -> None:
    related = read_documentation(command_of(command_path)).related
    for name in related:
        assert tuple(name.split()) in COMMANDS


@pytest.mark.parametrize("command_path", PACKAGES, ids=named)
def test_no_name_in_it_is_hidden_by_a_command_below(command_path: tuple[str, ...]) -> None:
    """Python gives a package an attribute for each child: `import os` in `dump` is lost to `dump os`."""
    folder = Path(OUR_TREE, *command_path)
    children = {child.name for child in folder.iterdir() if child.is_dir()}
    assert not children & names_bound_in(folder / "__init__.py")


def names_bound_in(path: Path) -> set[str]:
    """Names that a module binds at its top."""
    bound: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return bound - {"rocks"}


def test_there_are_commands() -> None:
    assert {("list", "host"), ("help",), ("list", "help")} <= set(COMMANDS)
