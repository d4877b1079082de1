"""Displays the progress of a command that waits for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command


class StorageProgress:
    """One line on a terminal, erased at the end of the `with`; elsewhere only the notice after an interrupt."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def __enter__(self) -> StorageProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._command.showProgress("")

    @property
    def displays_progress(self) -> bool:
        """Whether the progress is displayed."""
        return self._command.shows_progress

    def progress(self, line: str) -> None:
        """Display the current progress."""
        self._command.showProgress(line[:200])

    def left(self, line: str) -> None:
        """Print a notice when the wait was interrupted."""
        self._command.showProgress("")
        self._command.notify(line)
