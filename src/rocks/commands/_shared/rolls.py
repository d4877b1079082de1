"""Parameters of the commands that select rolls."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.commands import Command


def rolls_of(command: Command) -> tuple[str, str]:
    """The parameters version and arch; `%`, every one, when they are not given."""
    return command.fillText("version", "%"), command.fillText("arch", "%")
