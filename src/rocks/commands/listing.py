"""One line for each command: its words and its usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands.documentation import read_documentation
from rocks.commands.run_command import may_run
from rocks.commands.tree import all_commands, load_package, tree_folders
from rocks.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def usage_lines(start: tuple[str, ...], tell: Callable[[str], None]) -> Iterator[str]:
    """The lines of the commands whose first words are `start`, by name, without those that we may not run.

    A command that cannot be loaded is left out, and `tell` gets a line that says why: it hides no other.
    """
    trees = tree_folders()
    for words in all_commands(trees):
        if words[: len(start)] != start:
            continue
        try:
            command_class = getattr(load_package(words, trees), "Command", None)
        except BugError as error:
            tell(f"Warning: {error}")
            continue
        if command_class is not None and may_run(command_class):
            yield f"{' '.join(words)} {read_documentation(command_class).usage()}".rstrip()
