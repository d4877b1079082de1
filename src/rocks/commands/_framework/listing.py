"""One line for each command: its name and its usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.run_command import may_run
from rocks.commands._framework.tree import all_commands, load_package, tree_folders
from rocks.core.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def usage_lines(start: tuple[str, ...], notify: Callable[[str], None]) -> Iterator[str]:
    """The lines of the commands whose first words are `start`, by name; only those that this process may run.

    A command that cannot be loaded, or that shares help with such a one, is left out, and `notify` receives its error
    as a line.
    """
    trees = tree_folders()
    for command_path in all_commands(trees):
        if command_path[: len(start)] != start:
            continue
        try:
            command_class = getattr(load_package(command_path, trees), "Command", None)
            if command_class is None or not may_run(command_class):
                continue
            usage = read_documentation(command_class).usage()
        except BugError as error:
            notify(f"Warning: {error}")
        else:
            yield f"{' '.join(command_path)} {usage}".rstrip()
