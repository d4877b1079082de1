"""What the commands that select rolls are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands import Command


def rolls_of(command: Command, names: Sequence[str]) -> tuple[Sequence[str], str, str]:
    """The names, and the parameters version and arch; `%`, every one, when they are not given."""
    if not names:
        command.abort("must supply at least one roll; rocks list roll lists them")
    return names, command.fillText("version", "%"), command.fillText("arch", "%")
