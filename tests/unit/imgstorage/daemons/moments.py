"""The moments at which a daemon can die: before and after each change, each commit and each part of a stream."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from rocks.imgstorage.store.file import StoreFile

_CHANGES = ("ensure", "switch", "start_")


class DiedError(BaseException):
    """The daemon is dead. No code of it may take this for a failure."""


class Moments:
    """Counts the moments of one process. At the moment `die_at`, and ever after, the process is dead."""

    def __init__(self, die_at: int = 0) -> None:
        self._die_at = die_at
        self.count = 0
        self.is_dead = False

    def pass_one(self) -> None:
        """One more. DiedError when it is the last."""
        self.count += 1
        if self.is_dead or self.count == self._die_at:
            self.is_dead = True
            raise DiedError

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with a moment before it and one behind."""

        def called(*values: Any, **more: Any) -> Any:
            self.pass_one()
            found = call(*values, **more)
            self.pass_one()
            return found

        return called

    def count_commits(self, store: StoreFile) -> None:
        """Moments around each commit of the records; they need not be on the disk when a process ends."""
        execute = store._execute
        execute("PRAGMA synchronous = OFF")
        commit = self.around(execute)

        def counted(sql: str, values: tuple[Any, ...] = ()) -> Any:
            return commit(sql, values) if sql == "COMMIT" else execute(sql, values)

        store._execute = counted  # type: ignore[method-assign]


class Watched:
    """A driver as one process uses it: with moments around each change."""

    def __init__(self, driver: Any, moments: Moments) -> None:
        self._driver, self._moments = driver, moments

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        if not name.startswith(_CHANGES):
            return found
        return self._moments.around(self._start_receive if name == "start_receive" else found)

    def _start_receive(self, spec: Any) -> Any:
        program = self._driver.start_receive(spec)
        program.stream = _Parts(program.stream, self._moments.pass_one)
        return program


class _Parts(io.RawIOBase):
    """The input of a receiver, in halves, so that a part of a stream can be lost."""

    def __init__(self, target: Any, pass_one: Callable[[], None]) -> None:
        super().__init__()
        self._target, self._pass_one = target, pass_one

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """All of it."""
        whole = bytes(data)
        for part in (whole[: len(whole) // 2], whole[len(whole) // 2 :]):
            self._pass_one()
            self._target.write(part)
        return len(whole)

    def close(self) -> None:
        """With the receiver's."""
        self._target.close()
        super().close()
