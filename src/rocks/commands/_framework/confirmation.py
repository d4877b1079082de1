"""Asks a person before a change that is larger than what was typed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.terminal import many_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command

_YES = ("y", "yes")
_MAX_NAMES = 4


def confirm_all(command: Command, kind: str, names: Sequence[str]) -> None:
    """Ask whether the change of all `names` is meant, since the command names none of them.

    UserError for any other answer than yes, without a terminal, and in a command that another one calls. The open
    transaction ends before the question: nobody waits for a person. A dry run changes nothing, and does not ask.
    """
    if command.is_dry:
        return
    title = " ".join(command.command_path)
    listed = ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
    scope = f"all {len(names)}" + (f" ({listed})" if names else "")
    if not command.asks:
        raise UserError(f'no {kind} is named, and "{title}" would reach {scope}; write % to name all')
    command.db.rollback()
    print(f"{title}: no {kind} is named. Change {scope}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in _YES:
        raise UserError("nothing was changed; name what is meant, or % for all")


def confirm_line(command: Command, question: str) -> bool:
    """Print the question and read the answer; only the whole word yes confirms. False without a terminal."""
    if not command.asks:
        return False
    print(many_lines(question), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"
