"""Import contracts of the commands: the import linter does not enter group folders, which have no `__init__.py`."""

import ast
from pathlib import Path

import pytest

from rocks.commands._framework.tree import OUR_TREE

FILES = sorted(Path(OUR_TREE).rglob("*.py"))
ROOMS = {
    "cluster",
    "commands",
    "core",
    "database",
    "fleet",
    "install",
    "inventory",
    "library",
    "machine",
    "network",
    "site",
    "storage",
    "trust",
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
    "module", ["rocks.fleet.ssh", "rocks.core.process.run", "rocks.machine.host", "subprocess", "paramiko.x"]
)
def test_a_forbidden_import_is_found(module: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(f"def late():\n    import {module}\n")
    assert breaches(imported_modules(tmp_path / "file.py")) == [module]


def test_all_files_are_checked() -> None:
    assert Path(OUR_TREE, "list", "host", "vm", "__init__.py") in FILES
