"""Finds a command's folder in our tree and in every other installed tree, and imports it.

A folder with an `__init__.py` is a command or a group with a base class for its children; a folder without one is a
group when a command lies below it. The folder decides whether a word is part of a command's name, so a fault inside
the folder's code is reported as a fault, not as an unknown command.
"""
# ruff: noqa: PTH100, PTH112, PTH113, PTH118, PTH120, PTH206, PTH208 - pathlib would cost every command its start-up time

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rocks.commands._framework.name_expansion import READING
from rocks.core.errors import BugError
from rocks.core.trees import other_trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec

PACKAGE = "rocks.commands"
OUR_TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def tree_folders() -> list[str]:
    """All folders that hold commands: this system's first, then those of other rolls (`rocks.core.trees`).

    StateError, naming the file, when one in trees.d cannot be read.
    """
    return list(dict.fromkeys((OUR_TREE, *other_trees())))


def folders_of(command_path: Sequence[str], trees: Sequence[str]) -> list[str]:
    """The existing folders of the command or group `command_path`, one a tree at most."""
    return [folder for folder in _candidates(command_path, trees) if _holds_command(folder)]


def is_command_word(word: str) -> bool:
    """Whether a folder of this name can be a command: an identifier that does not begin with an underscore."""
    return word.isidentifier() and not word.startswith("_")


def _holds_command(folder: str) -> bool:
    """Whether the folder has an `__init__.py`, or a command lies below it.

    A folder with plugins alone, or with the byte code of a removed command, holds no command.
    """
    if os.path.isfile(f"{folder}/__init__.py"):
        return True
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(is_command_word(name) and _holds_command(os.path.join(folder, name)) for name in names)


def longest_prefix(command_path: Sequence[str], trees: Sequence[str]) -> int:
    """How many of `command_path`, from the first, name the folder of a command or a group."""
    # above a command are groups: one look instead of several, for each of the commands that a command calls
    if all(map(is_command_word, command_path)) and any(
        os.path.isfile(f"{folder}/__init__.py") for folder in _candidates(command_path, trees)
    ):
        return len(command_path)
    length = 0
    for word in command_path:
        if not is_command_word(word) or not folders_of(command_path[: length + 1], trees):
            break
        length += 1
    return length


def words_below(command_path: Sequence[str], trees: Sequence[str]) -> set[str]:
    """The words that make a longer command or group of `command_path`."""
    return {
        name
        for folder in folders_of(command_path, trees)
        for name in os.listdir(folder)
        if is_command_word(name) and _holds_command(os.path.join(folder, name))
    }


def load_package(command_path: Sequence[str], trees: Sequence[str]) -> ModuleType:
    """Import the package of a command or group whose folder exists, its parents before it.

    Every package's path becomes the same folder of all trees, so that a child or a plugin may live in another
    tree than its parent. BugError, naming the folder, when the code there cannot be imported.
    """
    sys.modules[PACKAGE].__path__ = list(trees)
    for length in range(1, len(command_path) + 1):
        name = ".".join((PACKAGE, *command_path[:length]))
        module = sys.modules.get(name) or _import(name, command_path[:length], trees)
        if not hasattr(module, "__path__"):
            raise _cannot_load(command_path[:length], trees, f"{module.__file__} is a file, not a folder")
        _complete(module, trees)
    return module


class _Loader:
    """Runs the code of a package, if it has a file, and completes it: another roll's `import` finds it whole, too."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        """As the loader of a file: what reads files beside a command asks it."""
        return getattr(self.__dict__.get("_inner"), name)

    def create_module(self, spec: ModuleSpec) -> None:
        """The default module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the code; the package above has been imported before."""
        if self._inner is not None:
            self._inner.exec_module(module)
        _complete(module, sys.modules[PACKAGE].__path__)


class _Finder:
    """Finds the packages of commands and groups for `import`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        """The package; None for any other module."""
        spec = PathFinder.find_spec(name, path) if name.startswith(f"{PACKAGE}.") else None
        if spec is None or spec.submodule_search_locations is None or f"{PACKAGE}._" in name:
            return None
        spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


sys.meta_path.insert(0, _Finder)


def _complete(module: ModuleType, trees: Iterable[str]) -> None:
    """Let a package have the same folder of all trees, and the lower-case `command` that other rolls' commands inherit.

    That is its own, else the one above.
    """
    above, _, verb = module.__name__.rpartition(".")
    is_reading = above == PACKAGE and verb in READING
    module.__path__ = [
        folder for folder in _candidates(module.__name__.split(".")[2:], [*trees]) if os.path.isdir(folder)
    ]
    # a module is there where a command has the name `command`: list roll command
    if not isinstance(getattr(module, "command", None), type):
        while not isinstance(base := getattr(sys.modules[above], "command", None), type) and above != PACKAGE:
            above = above.rpartition(".")[0]
        base = base if isinstance(base, type) else sys.modules[PACKAGE].Command
        # Rocks' own bases of these need no root
        module.command = type("command", (base,), {"MustBeRoot": 0}) if is_reading else base  # type: ignore[attr-defined]


def roll_of(module: ModuleType) -> str:
    """Name of the roll that a command came with: its module's `RollName`, else `base`."""
    return str(getattr(module, "RollName", "base"))


def all_commands(trees: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The words of every folder with an `__init__.py`, of every tree, sorted; groups without a file are left out."""
    found = {
        tuple(os.path.relpath(path, tree).split(os.sep))
        for tree in trees
        for path, _, files in os.walk(tree)
        if "__init__.py" in files and path != tree
    }
    return iter(
        sorted(
            command_path for command_path in found if longest_prefix(command_path, trees) == len(command_path)
        )
    )


def is_command(command_path: Sequence[str], trees: Sequence[str]) -> bool:
    """Whether the folder is a command and not a group; False for one that cannot be loaded."""
    try:
        return hasattr(load_package(command_path, trees), "Command")
    except BugError:
        return False


def _candidates(command_path: Sequence[str], trees: Sequence[str]) -> list[str]:
    return [os.path.join(tree, *command_path) for tree in trees]


def _import(name: str, command_path: Sequence[str], trees: Sequence[str]) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        from rocks.commands._framework.fault_place import named_fault

        raise _cannot_load(command_path, trees, named_fault(error)) from error


def _cannot_load(command_path: Sequence[str], trees: Sequence[str], why: str) -> BugError:
    return BugError(
        f'the command "{" ".join(command_path)}" cannot be loaded: {why} (in {folders_of(command_path, trees)[0]}); '
        "its author must fix it, ROCKSDEBUG=1 shows where"
    )
