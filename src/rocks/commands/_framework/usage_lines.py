"""The name and the usage of each command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.command_index import describe, read_index
from rocks.commands._framework.declarations import usage_of
from rocks.commands._framework.run_command import is_permitted
from rocks.commands._framework.tree import all_commands, load_package, tree_folders
from rocks.core.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def usage_lines(start: tuple[str, ...], notify: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """(name, usage) of the commands whose first words are `start`, by name; only those that this process may run.

    A command that cannot be loaded, or that shares help with such a one, is left out, and `notify` receives its error
    as a line.
    """
    trees, index = tree_folders(), read_index()
    for command_path in all_commands(trees):
        if command_path[: len(start)] != start:
            continue
        try:
            found = index.get(name := " ".join(command_path))
            if found is None:
                command_class = getattr(load_package(command_path, trees), "Command", None)
                found = describe(command_class) if command_class else None
        except BugError as error:
            notify(f"Warning: {error}")
            continue
        if found and is_permitted(found.must_be_root):
            yield name, usage_of(found.taken)
