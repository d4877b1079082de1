"""The crash points of a daemon: before and after each change and commit, and before each part of a stream."""

from collections.abc import Callable
from typing import Any

import pytest

from rocks.storage.store.file import StoreFile
from tests.unit.storage.memory_nodes import HalvingWriter

MAX_STATEMENTS = 5000
"""Of a daemon in one turn; what these lives need is less than 200."""

_CHANGES = ("ensure", "switch", "start_")


class DiedError(BaseException):
    """The daemon died. Not an Exception, so that its code does not handle this as a failure."""


class Moments:
    """Counts the moments of one process. It dies at moment `die_at`; 0: never. `on_change` is called before each change
    of a device.
    """

    def __init__(self, die_at: int = 0, on_change: Callable[[], object] = lambda: None) -> None:
        self._die_at = die_at
        self._on_change = on_change
        self.count = 0
        self.is_dead = False
        self.statements = 0
        """Executed in this turn."""

    def pass_one(self) -> None:
        """Count one more moment. DiedError when the process dies here, or has died."""
        self.count += 1
        if self.is_dead or self.count == self._die_at:
            self.is_dead = True
            raise DiedError

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with one moment before it and one after it."""

        def called(*values: Any, **more: Any) -> Any:
            self.pass_one()
            found = call(*values, **more)
            self.pass_one()
            return found

        return called

    def changed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same for a change of a device."""

        def called(*values: Any, **more: Any) -> Any:
            self._on_change()
            return call(*values, **more)

        return self.around(called)

    def count_commits(self, store: StoreFile) -> None:
        """Add moments around each commit of the records. Without fsync: only a process dies, so the records survive."""
        execute = store._execute
        execute("PRAGMA synchronous = OFF")
        commit = self.around(execute)

        def counted(sql: str, values: tuple[Any, ...] = ()) -> Any:
            self.statements += 1
            if self.statements > MAX_STATEMENTS:
                pytest.fail(f"a turn of the daemon has no end; it executes {sql} {values}")
            return commit(sql, values) if sql == "COMMIT" else execute(sql, values)

        store._execute = counted  # type: ignore[method-assign]


class InterruptibleDriver:
    """One process's view of a driver: with moments around each change."""

    def __init__(self, driver: Any, moments: Moments) -> None:
        self._driver, self._moments = driver, moments

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        if not name.startswith(_CHANGES):
            return found
        return self._moments.changed(self._start_receive if name == "start_receive" else found)

    def _start_receive(self, spec: Any) -> Any:
        program = self._driver.start_receive(spec)
        program.stream = HalvingWriter(program.stream, self._moments.pass_one)
        return program
