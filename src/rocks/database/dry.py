"""The cluster database in a dry run: its changes are seen by this connection alone, and are never committed."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rocks.core import dry_run, mariadb
from rocks.core.errors import StateError
from rocks.database import driver
from rocks.database.blockers import ATTEMPTS
from rocks.database.connection import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rocks.database.driver import Connection, Cursor
    from rocks.database.settings import Settings

_SAVEPOINT = "dry_run"
_LONGEST_WAIT_SECONDS = 2.0
"""For a lock that another command holds for a moment. Some are held for long, as while an image is added."""
_HARMLESS = re.compile(
    r"\s*(?:select|show|insert|update|delete|replace|savepoint|rollback\s+to|set\s+session|start\s+transaction\s+read\s+only)\b",
    re.I,
)
"""What cannot end the transaction; MariaDB commits it before each statement that defines or grants something."""

_CHANGE = re.compile(
    r"\s*(?:(insert|replace)\s+(?:ignore\s+)?(?:into\s+)?|(update)\s+|(delete)\s+(?:(?!from\b)\w+\s+)?from\s+)`?(\w+)",
    re.I,
)


class DryDatabase(Database):
    """As `Database`, but a commit only sets the place to which a rollback returns.

    So a command that commits, asks hosts and commits again reads its own changes. It takes no named locks. Its locks
    of rows are held until `finish`: others that change the same rows wait. `changed`: (verb, table) → rows.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.changed: Counter[tuple[str, str]] = Counter()
        self._uncommitted: Counter[tuple[str, str]] = Counter()
        self._has_savepoint = False

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """As `Database.execute`; counts the rows."""
        changed = super().execute(sql, values)
        found = _CHANGE.match(sql)
        if found and changed > 0:
            verb = found[1] or found[2] or found[3]
            self._uncommitted[verb.lower(), found[4]] += changed
        return changed

    def commit(self) -> None:
        """Keep the changes for this connection, then do what `after_commit` was given."""
        if self._has_changes:
            self._run(f"SAVEPOINT {_SAVEPOINT}")
            self._has_savepoint = True
            self._has_changes = False
            self.changed += self._uncommitted
            self._uncommitted.clear()
        self._do_after_commit()

    def at_next_commit(self, action: Callable[[], None] | None) -> None:
        """Nothing: there is no entry for the audit log."""

    def rollback(self) -> None:
        """Undo the changes since the last `commit`."""
        self._uncommitted.clear()
        if not self._has_savepoint:
            super().rollback()
            return
        self._after_commit = []
        self._has_changes = False
        self._run(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")

    def close(self) -> None:
        """Undo what is not committed, and release the named locks: the command goes on without the database."""
        if self._connection is not None and self._connection.open:
            self.rollback()
        self._locks.close()

    def finish(self) -> None:
        """End the connection: the database is as before."""
        self._has_savepoint = False
        with dry_run.reading():
            super().close()

    @contextmanager
    def read_only(self) -> Iterator[Database]:
        """As `Database.read_only`. StateError after changes, which its own transaction would commit."""
        if self._has_savepoint:
            raise StateError(
                "a dry run cannot evaluate a selector with select after a change; name the hosts"
            )
        with super().read_only():
            yield self

    def lock_all(self, names: Iterable[str], wait_seconds: float) -> None:
        """As `Database.lock_all`, but only waits until the locks are free: it keeps no other command from them.

        It waits at most `_LONGEST_WAIT_SECONDS`.
        """
        seconds = min(wait_seconds, _LONGEST_WAIT_SECONDS)
        with dry_run.reading():
            held = self._locks.held_by_others(names, seconds)
        if held:
            raise self._locks.busy_with(held, seconds)

    def locked_by_others(self, names: Iterable[str]) -> list[str]:
        """As `Database.locked_by_others`."""
        with dry_run.reading():
            return super().locked_by_others(names)

    def _run(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        if not _HARMLESS.match(sql):
            dry_run.stop("cluster database", f"execute {' '.join(sql.split()[:3])} …")
        return super()._run(sql, values)

    def _execute(self, connection: Connection[Cursor], sql: str, values: tuple[Any, ...] | None) -> Cursor:
        """Wait for the locks of others, and end none of them."""
        for attempt in range(1, ATTEMPTS + 1):
            cursor = connection.cursor()
            try:
                cursor.execute(sql, values)
                return cursor
            except driver.driver_errors() as error:
                if mariadb.error_code(error) not in mariadb.LOCK_TIMEOUTS or attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _connect(self) -> Connection[Cursor]:
        with dry_run.reading():
            return super()._connect()
