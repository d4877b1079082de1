"""What must be true of every command in our tree: who may run it, its help, its imports, its typed arguments."""

import ast
import shlex
from functools import cache
from pathlib import Path

import pytest

from rocks.commands._framework.base import Command
from rocks.commands._framework.documentation import Documentation, read_documentation
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


@cache
def documentation_of(command_path: tuple[str, ...]) -> Documentation:
    return read_documentation(command_of(command_path))


def test_who_may_run_a_command() -> None:
    """As on Rocks sites: what only lists needs no root."""
    offenders = []
    for command_path in COMMANDS:
        everybody = command_path in ALSO_FOR_EVERYBODY or (
            command_path[0] in FOR_EVERYBODY and command_path not in NOT_FOR_EVERYBODY
        )
        if bool(command_of(command_path).MustBeRoot) is everybody:
            offenders.append(f"{named(command_path)}: {'everybody' if everybody else 'only root'} may run it")
    assert offenders == []


def test_help_describes_every_command_and_each_argument() -> None:
    offenders = []
    for command_path in COMMANDS:
        read = documentation_of(command_path)
        if not read.description.endswith("."):
            offenders.append(f"{named(command_path)}: its description does not end with a full stop")
        if "<" in read.description:
            offenders.append(f"{named(command_path)}: an element of its docstring is not closed")
        offenders += [
            f"{named(command_path)}: {declared.name or 'an argument without a name'} is not explained"
            for declared in (*read.arguments, *read.parameters)
            if not (declared.name and declared.text)
        ]
    assert offenders == []


def test_examples_are_of_their_command() -> None:
    offenders = [named(path) for path in COMMANDS if not documentation_of(path).examples]
    for command_path in COMMANDS:
        for command_line, text in documentation_of(command_path).examples:
            example = shlex.split(command_line)
            quoted = example[0].split()
            found = tuple(quoted) if len(quoted) > 1 else tuple(example[: longest_prefix(example, TREES)])
            if found != command_path or not text:
                offenders.append(f"{named(command_path)}: {command_line}: {text}")
    assert offenders == []


def test_related_commands_exist() -> None:
    assert [
        f"{named(command_path)}: {name}"
        for command_path in COMMANDS
        for name in documentation_of(command_path).related
        if tuple(name.split()) not in COMMANDS
    ] == []


def test_no_name_in_a_command_is_hidden_by_a_command_below() -> None:
    """Python gives a package an attribute for each child: `import os` in `dump` is lost to `dump os`."""
    hidden = {}
    for command_path in PACKAGES:
        folder = Path(OUR_TREE, *command_path)
        children = {child.name for child in folder.iterdir() if child.is_dir()}
        hidden[named(command_path)] = children & names_bound_in(folder / "__init__.py")
    assert {command: names for command, names in hidden.items() if names} == {}


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


FILES = sorted(Path(OUR_TREE).rglob("*.py"))
ROOMS = {
    *("cluster", "commands", "core", "database", "fleet", "install", "inventory", "leases"),
    *("library", "machine", "network", "site", "storage", "trust"),
}
"""The rooms that a command may use."""
NOT_BY_COMMANDS = ("agent", "core.process", "core.files", "fleet", "storage")
BY_COMMANDS = ("fleet.wire", "storage.broker", "storage.volumes", "storage.wire")
"""Hosts, image storage and programs are the work of the rooms; commands name what goes to and fro."""
FORBIDDEN = {"lxml", "libvirt", "nucleus", "comet", "paramiko", "pymysql", "socket", "subprocess"}


def imported_modules(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _is_for_commands(module: str) -> bool:
    """Whether a command may import this module of rocks."""
    room = module.split(".")[0]
    if room == "commands" or _is_below(module, BY_COMMANDS):
        return True
    return room in ROOMS and "host" not in module.split(".") and not _is_below(module, NOT_BY_COMMANDS)


def _is_below(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def breaches(modules: set[str]) -> list[str]:
    """The modules that a command must not import."""
    return sorted(
        module
        for module in modules
        for first, _, rest in [module.partition(".")]
        if first in FORBIDDEN or (first == "rocks" and rest and not _is_for_commands(rest))
    )


def test_every_command_imports_only_what_commands_may() -> None:
    assert [
        (str(path.relative_to(OUR_TREE)), found)
        for path in FILES
        if (found := breaches(imported_modules(path) - {"rocks.__version__"}))
    ] == []


@pytest.mark.parametrize(
    "module",
    [
        "rocks.fleet.paramiko_connection",
        "rocks.core.process.run",
        "rocks.machine.host",
        "subprocess",
        "paramiko.x",
    ],
)
def test_a_forbidden_import_is_found(module: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(f"def late():\n    import {module}\n")
    assert breaches(imported_modules(tmp_path / "file.py")) == [module]


def test_all_files_are_checked() -> None:
    assert Path(OUR_TREE, "list", "host", "vm", "__init__.py") in FILES


MODULES = [path for path in sorted(Path(OUR_TREE).rglob("__init__.py")) if "_framework" not in path.parts]
UNTYPED = {"fillParams", "fillPositionalArgs", "Any"}


def names_in(path: Path) -> set[str]:
    """All names and attributes that a file uses."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }


def test_every_command_reads_typed_arguments() -> None:
    assert len(MODULES) > 300
    untyped = {str(path.parent.relative_to(OUR_TREE)): names_in(path) & UNTYPED for path in MODULES}
    assert {command: names for command, names in untyped.items() if names} == {}
