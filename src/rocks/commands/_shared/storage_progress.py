"""What a person sees while a command waits for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from rocks.commands._framework.base import Command


class StorageProgress:
    """One line at a terminal, gone when the `with` ends; nothing elsewhere, but how to look after an interrupt."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def __enter__(self) -> StorageProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._command.showProgress("")

    @property
    def wants_progress(self) -> bool:
        """Whether anybody sees it."""
        return self._command.shows_progress

    def progress(self, line: str) -> None:
        """What is waited for is so far."""
        self._command.showProgress(line[:200])

    def left(self, line: str) -> None:
        """The person does not wait any longer."""
        self._command.showProgress("")
        self._command.notify(line)
