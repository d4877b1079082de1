"""Connections to the schema of Nucleus, shared by the threads of a process; one transaction at a time on each."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from nucleus.mirror.columns import placeholders, to_json
from nucleus.mirror.driver import (
    DRIVER_ERRORS,
    SILENT,
    NoConnectionError,
    SilentError,
    answers,
    commit,
    end,
    explain,
    explained,
    open_connection,
    rolled_back,
)
from rocks.core.errors import BusyError, HostError, RocksError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    from nucleus.configuration import DatabaseSettings
    from nucleus.mirror.events import Signal

_LOG = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
"""A connection that was idle for longer is asked whether the server has ended it."""

WAIT_SECONDS = 30.0
_PAUSE_SECONDS = 0.2
_ROWS_AT_ONCE = 2000


class Session:
    """One transaction on one connection. Placeholders are `%s`; with values, `%%` is a plain `%`.

    Every method can raise HostError (the server does not answer), BusyError (rows are locked, repeat), DuplicateError
    (a unique value is taken), UserError (an invalid value) and ToolError.
    """

    def __init__(self, connection: Connection[Cursor], settings: DatabaseSettings) -> None:
        self._connection = connection
        self.settings = settings

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a SELECT."""
        return list(self._run(sql, values).fetchall())

    def column(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """The first value of each row."""
        return [row[0] for row in self.rows(sql, values)]

    def row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row, or None."""
        found: tuple[Any, ...] | None = self._run(sql, values).fetchone()
        return found

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first value of the first row; None without rows."""
        return (self.row(sql, values) or (None,))[0]

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Change something; the number of rows that were found (of an UPDATE) or inserted or deleted."""
        return self._run(sql, values).rowcount

    def insert(self, table: str, columns: Mapping[str, Any], how: str = "INSERT") -> int:
        """Insert a row: column → value; objects and lists as JSON. Its number, where the server gives one."""
        places = ", ".join(["%s"] * len(columns))
        cursor = self._run(
            f"{how} INTO {table} ({', '.join(columns)}) VALUES ({places})", [*map(_stored, columns.values())]
        )
        return cursor.lastrowid or 0

    def update(self, table: str, columns: Mapping[str, Any], also: str = "", **key: Any) -> int:
        """Change columns, and what `also` says in SQL, of the rows with the key; how many there are.

        Of a key the value may be None, and a list: any of these.
        """
        if [] in key.values():
            return 0
        changes = ", ".join([f"{column} = %s" for column in columns] + [also] * bool(also))
        which, values = _with_key(key)
        return self.execute(
            f"UPDATE {table} SET {changes} WHERE {which}", [*map(_stored, columns.values()), *values]
        )

    def delete(self, table: str, **key: Any) -> int:
        """Remove the rows with the key, as of `update`; how many there were."""
        if [] in key.values():
            return 0
        which, values = _with_key(key)
        return self.execute(f"DELETE FROM {table} WHERE {which}", values)

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


def _stored(value: Any) -> Any:
    return to_json(value) if isinstance(value, dict | list) else value


def _with_key(key: Mapping[str, Any]) -> tuple[str, list[Any]]:
    conditions, values = [], list[Any]()
    for column, value in key.items():
        given = value if isinstance(value, list) else [] if value is None else [value]
        conditions.append(f"{column} IS NULL" if value is None else f"{column} IN ({placeholders(given)})")
        values += given
    return " AND ".join(conditions), values


class Pool:
    """Connections that threads borrow for a transaction each; at most `settings.connections` at a time.

    NoConnectionError when none becomes free within `WAIT_SECONDS`.

    While the server is silent a thread of its own asks it whether it answers, and all others get a SilentError at once:
    they would wait, one after the other.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self.settings = settings
        self._free: list[tuple[Connection[Cursor], float]] = []
        self._permits = threading.BoundedSemaphore(settings.connections)
        self._is_silent = False
        self._silence_lock = threading.Lock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction: committed at the end of the block, undone when it raises. Errors as of `Session`."""
        with self._borrowed() as connection:
            with explained(self.settings):
                connection.begin()
            yield Session(connection, self.settings)
            commit(connection, self.settings)

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
            raise NoConnectionError(
                f"all {self.settings.connections} connections to the database are in use; try again"
            )
        connection = None
        try:
            connection = self._take()
            yield connection
        except BaseException as error:
            if isinstance(error, SilentError):
                self._note_silence()
            if connection is not None and not rolled_back(connection):
                end(connection)
                connection = None
            raise
        finally:
            if connection is not None:
                self._free.append((connection, time.monotonic()))
            self._permits.release()

    def close(self) -> None:
        """End the connections that nobody uses."""
        while self._free:
            end(self._free.pop()[0])

    def _take(self) -> Connection[Cursor]:
        if self._is_silent:
            raise SilentError(SILENT)
        with contextlib.suppress(IndexError):
            while True:
                connection, since = self._free.pop()
                if time.monotonic() - since < IDLE_SECONDS or answers(connection):
                    return connection
                end(connection)
        return open_connection(self.settings, commits_itself=True)

    def _note_silence(self) -> None:
        with self._silence_lock:
            if self._is_silent:
                return
            self._is_silent = True
        _LOG.warning("the database %s at %s does not answer", self.settings.name, self.settings.socket)
        try:
            threading.Thread(target=self._ask_until_answered, name="silence", daemon=True).start()
        except RuntimeError:  # no thread more: each request asks by itself
            self._is_silent = False

    def _ask_until_answered(self) -> None:
        try:
            while self._is_still_silent():
                time.sleep(_PAUSE_SECONDS)
        finally:
            self._is_silent = False
            _LOG.warning("the database %s at %s is silent no more", self.settings.name, self.settings.socket)

    def _is_still_silent(self) -> bool:
        with contextlib.suppress(HostError, StateError):  # one that is away says so at once
            try:
                end(open_connection(self.settings))
            except SilentError:
                return True
        return False


class Guard:
    """Something that only one process at a time may do: a named lock of the server, on a connection of its own.

    The server frees the lock when the connection ends, whatever the clocks say: at once when this process is killed,
    and after `lease_seconds` when it is stopped or its machine has lost power. What the holder writes, it writes in
    `transaction`, on the same connection: a lock that is lost takes the transaction along.
    """

    def __init__(self, settings: DatabaseSettings, name: str, lease_seconds: int = 60) -> None:
        self._settings = settings
        self._name, self._lock = name, lock_name(settings, name)
        self.lease_seconds = lease_seconds
        """After so long without a word of the holder the server frees the lock."""

        self._connection: Connection[Cursor] | None = None

    def take(self) -> bool:
        """Whether this process holds it now. HostError when the database cannot be reached."""
        if self._connection is not None and self._is_held(self._connection):
            return True
        self.release()
        connection = open_connection(self._settings)
        try:
            session = Session(connection, self._settings)
            session.execute(f"SET SESSION wait_timeout = {self.lease_seconds}")
            if not session.value("SELECT GET_LOCK(%s, 0)", (self._lock,)):
                end(connection)
                return False
            connection.commit()
        except BaseException:
            end(connection)
            raise
        self._connection = connection
        return True

    def work(self, what: str, act: Callable[[], float | None], signal: Signal, stop: threading.Event) -> None:
        """Act while this process holds it, whenever the signal is given and each second, until `stop` is set.

        `act` may return fewer seconds, after which it is to act again. Errors are logged, and it goes on. The caller
        releases it.
        """
        while not stop.is_set():
            seen, pause = signal.number, None
            with logged(what):
                if self.take():
                    pause = act()
            signal.wait(seen, pause or 1.0)

    def keep(self) -> None:
        """Have `lease_seconds` begin anew, for a holder that writes nothing for long; `transaction` reports a loss."""
        if self._connection is not None:
            with contextlib.suppress(SilentError):
                answers(self._connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """As `Pool.transaction`, on the connection of the lock, after `take`.

        BusyError when this process does not hold it, HostError when the connection is lost.
        """
        connection = self._connection
        if connection is None:
            raise BusyError(f"the lease of {self._name} was lost; another process may have it")
        try:
            yield Session(connection, self._settings)
            commit(connection, self._settings)
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
            end(connection)

    def _is_held(self, connection: Connection[Cursor]) -> bool:
        try:
            session = Session(connection, self._settings)
            held = session.value("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (self._lock,))
            connection.rollback()
            return bool(held)
        except (HostError, DRIVER_ERRORS[0], OSError):  # the connection is lost
            return False


@contextlib.contextmanager
def logged(what: str, passes: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """An error of the block is logged, and what follows the block goes on; one of `passes` is raised."""
    try:
        yield
    except passes:
        raise
    except RocksError as error:
        _LOG.warning("%s: %s", what, error)
    except Exception:
        _LOG.exception("%s: an error of this program", what)


def lock_name(settings: DatabaseSettings, name: str) -> str:
    """The server's name of a lock of this schema; at most 64 characters."""
    return f"{settings.name}.{name}"[:64]
