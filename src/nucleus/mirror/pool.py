"""Connections to the schema of Nucleus, shared by the threads of a process; one transaction at a time on each."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from nucleus.mirror.driver import DRIVER_ERRORS, connect, explain, is_lost
from rocks.core.errors import BusyError, HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    from nucleus.configuration import DatabaseSettings

IDLE_SECONDS = 5.0
"""A connection that was idle for longer is asked whether the server has ended it."""

WAIT_SECONDS = 30.0
_ROWS_AT_ONCE = 2000


class Session:
    """One transaction on one connection. Placeholders are `%s`; with values, `%%` is a plain `%`.

    Every method can raise HostError (the server does not answer), BusyError (rows are locked, repeat), DuplicateError
    (a unique value is taken), UserError (an invalid value) and ToolError.
    """

    def __init__(self, connection: Connection[Cursor], settings: DatabaseSettings) -> None:
        self._connection = connection
        self.settings = settings
        self.last_id = 0
        """The number of the row that the last `execute` inserted; 0 when it inserted none."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a SELECT."""
        return list(self._run(sql, values).fetchall())

    def row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row, or None."""
        found: tuple[Any, ...] | None = self._run(sql, values).fetchone()
        return found

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Change something; the number of rows that were found (of an UPDATE) or inserted or deleted."""
        cursor = self._run(sql, values)
        self.last_id = cursor.lastrowid or 0
        return cursor.rowcount

    def insert_many(self, prefix: str, rows: Iterable[Sequence[Any]], suffix: str = "") -> None:
        """`INSERT INTO t (a, b) VALUES`, the rows, and what happens to those that are there."""
        all_rows = list(rows)
        for begin in range(0, len(all_rows), _ROWS_AT_ONCE):
            part = all_rows[begin : begin + _ROWS_AT_ONCE]
            one = "(" + ", ".join(["%s"] * len(part[0])) + ")"
            self.execute(
                f"{prefix} {', '.join([one] * len(part))} {suffix}", [v for row in part for v in row]
            )

    def _run(self, sql: str, values: Sequence[Any]) -> Cursor:
        try:
            cursor = self._connection.cursor()
            cursor.execute(sql, tuple(values) or None)
            return cursor
        except DRIVER_ERRORS as error:
            raise explain(error, self.settings) from None


class Pool:
    """Connections that threads borrow for a transaction each; at most `settings.connections` at a time."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.settings = settings
        self._free: queue.LifoQueue[tuple[Connection[Cursor], float]] = queue.LifoQueue()
        self._permits = threading.BoundedSemaphore(settings.connections)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction: committed at the end of the block, undone when it raises. Errors as of `Session`."""
        with self._borrowed() as connection:
            _begin(connection, self.settings)
            yield Session(connection, self.settings)
            _commit(connection, self.settings)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """For questions alone: each sees what is committed then, as in `transaction`, and none needs a commit.

        What changes something in here is not undone when the block raises.
        """
        with self._borrowed() as connection:
            yield Session(connection, self.settings)

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Connection[Cursor]]:
        if not self._permits.acquire(timeout=WAIT_SECONDS):
            raise BusyError(
                f"all {self.settings.connections} connections to the database are in use; try again"
            )
        try:
            connection = self._take()
            usable = False
            try:
                yield connection
                usable = True
            finally:
                if usable or self._roll_back(connection):
                    self._free.put((connection, time.monotonic()))
                else:
                    _end(connection)
        finally:
            self._permits.release()

    def close(self) -> None:
        """End the connections that nobody uses."""
        with contextlib.suppress(queue.Empty):
            while True:
                _end(self._free.get_nowait()[0])

    def _take(self) -> Connection[Cursor]:
        with contextlib.suppress(queue.Empty):
            while True:
                connection, since = self._free.get_nowait()
                if time.monotonic() - since < IDLE_SECONDS or _answers(connection):
                    return connection
                _end(connection)
        return open_connection(self.settings, commits_itself=True)

    def _roll_back(self, connection: Connection[Cursor]) -> bool:
        """Whether the transaction was undone, and the connection can be used again."""
        try:
            connection.rollback()
            return True
        except DRIVER_ERRORS:
            return False


def open_connection(settings: DatabaseSettings, *, commits_itself: bool = False) -> Connection[Cursor]:
    """A connection to the schema, as `connect` makes it. HostError, NoSchemaError."""
    try:
        return connect(settings, settings.name, commits_itself=commits_itself)
    except DRIVER_ERRORS as error:
        raise explain(error, settings) from None


def _begin(connection: Connection[Cursor], settings: DatabaseSettings) -> None:
    try:
        connection.begin()
    except DRIVER_ERRORS as error:
        raise explain(error, settings) from None


def _commit(connection: Connection[Cursor], settings: DatabaseSettings) -> None:
    try:
        connection.commit()
    except DRIVER_ERRORS as error:
        if is_lost(error):  # the server may have committed before its answer was lost
            raise HostError(
                f"lost the database {settings.name} at {settings.socket} while a change was stored; whether it was"
                " stored is not known: look at what it concerns before you repeat it"
            ) from None
        raise explain(error, settings) from None


def _answers(connection: Connection[Cursor]) -> bool:
    try:
        connection.ping(reconnect=False)
        return True
    except DRIVER_ERRORS:
        return False


def _end(connection: Connection[Cursor]) -> None:
    with contextlib.suppress(*DRIVER_ERRORS):
        connection.close()


class Guard:
    """Something that only one process at a time may do: a named lock of the server, on a connection of its own.

    The server frees the lock when the connection ends, whatever the clocks say: at once when this process is killed,
    and after `lease_seconds` when it is stopped or its machine has lost power. What the holder writes, it writes in
    `transaction`, on the same connection: a lock that is lost takes the transaction along.
    """

    def __init__(self, settings: DatabaseSettings, name: str, holder: str, lease_seconds: int = 60) -> None:
        self._settings = settings
        self._name = name
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._connection: Connection[Cursor] | None = None

    def take(self) -> bool:
        """Whether this process holds it now. HostError when the database cannot be reached."""
        if self._connection is not None and self._is_held(self._connection):
            return True
        self.release()
        connection = open_connection(self._settings)
        try:
            session = Session(connection, self._settings)
            session.execute(f"SET SESSION wait_timeout = {self._lease_seconds}")
            if not (session.row("SELECT GET_LOCK(%s, 0)", (self._lock,)) or (0,))[0]:
                _end(connection)
                return False
            session.execute(
                "UPDATE lease SET holder = %s, since = UTC_TIMESTAMP(3),"
                " until = UTC_TIMESTAMP(3) + INTERVAL %s SECOND WHERE name = %s",
                (self._holder, self._lease_seconds, self._name),
            )
            connection.commit()
        except BaseException:
            _end(connection)
            raise
        self._connection = connection
        return True

    def keep(self) -> None:
        """Have `lease_seconds` begin anew, for a holder that writes nothing for long; `transaction` reports a loss."""
        if self._connection is not None:
            _answers(self._connection)

    @property
    def lease_seconds(self) -> int:
        """After so long without a word of the holder the server frees the lock."""
        return self._lease_seconds

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """As `Pool.transaction`, on the connection of the lock, after `take`.

        BusyError when this process does not hold it, HostError when the connection is lost.
        """
        connection = self._connection
        if connection is None:
            raise BusyError(f"the lease of {self._name} was lost; another process may have it")
        try:
            session = Session(connection, self._settings)
            yield session
            session.execute(
                "UPDATE lease SET until = UTC_TIMESTAMP(3) + INTERVAL %s SECOND WHERE name = %s",
                (self._lease_seconds, self._name),
            )
            _commit(connection, self._settings)
        except BaseException:
            with contextlib.suppress(*DRIVER_ERRORS):
                connection.rollback()
            raise

    def release(self) -> None:
        """Give it up: who asks after this gets it. A server that cannot be reached frees it later, as after a kill."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                connection.rollback()  # before the next holder begins
                connection.cursor().execute("DO RELEASE_LOCK(%s)", (self._lock,))
            _end(connection)

    @property
    def _lock(self) -> str:
        return lock_name(self._settings, self._name)

    def _is_held(self, connection: Connection[Cursor]) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (self._lock,))
                held = cursor.fetchone()
            connection.rollback()
            return bool(held and held[0])
        except DRIVER_ERRORS as error:
            if is_lost(error):
                return False
            raise explain(error, self._settings) from None


def lock_name(settings: DatabaseSettings, name: str) -> str:
    """The server's name of a lock of this schema; at most 64 characters."""
    return f"{settings.name}.{name}"[:64]
