"""How many hosts have answered, while a command waits for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.clock import monotonic_seconds

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command

_QUIET_SECONDS = 5.0
"""Without a terminal, a line is printed after this time and then as often."""


class HostProgress:
    """On a terminal, a line that each answer replaces; elsewhere, lines after some seconds; nothing for one host."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._next_line_at = monotonic_seconds() + _QUIET_SECONDS

    def __call__(self, answered: int, total: int, host: str) -> None:
        """Report the number of hosts that have answered; `host` is the last one, or '' before the first."""
        if total < 2:
            return
        if answered == total:
            self._command.showProgress("")
            return
        line = f"{answered} of {total} hosts have answered{f', {host} last' if host else ''}"
        self._command.showProgress(line)
        if not self._command.shows_progress and monotonic_seconds() >= self._next_line_at:
            self._command.notify(line)
            self._next_line_at = monotonic_seconds() + _QUIET_SECONDS
