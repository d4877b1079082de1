"""The connection to the cluster database: bound values, one transaction, named locks."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from rocks.core import mariadb
from rocks.core.errors import BugError, BusyError, RocksError, UserError
from rocks.database import driver, versions
from rocks.database.blockers import execute_past_readers
from rocks.database.locks import NamedLocks
from rocks.database.sets import has_empty_set
from rocks.database.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rocks.database.driver import Connection, Cursor

SELECTOR_SECONDS = 30
"""How long a statement inside `read_only` may take."""


class Database:
    """One connection, made at the first statement, in one transaction until `commit` or `rollback`.

    Text is utf8mb4 and compared without case; isolation is READ COMMITTED; there is no autocommit. Every method
    can raise HostError (the server does not answer, or the connection is lost), StateError (the schema has another
    version than these programs), BusyError (another command holds the same rows, or stored the same key just now),
    UserError (an invalid value, a missing privilege) and ToolError (the server rejected a statement of this system).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.statements = 0
        """Statements sent since the object was made, without those of connecting and committing."""
        self.commits = 0
        """Transactions with changes that were committed since the object was made."""
        self._connection: Connection[Cursor] | None = None
        self._locks = NamedLocks(settings.state_folder, settings.database)
        self._after_commit: list[Callable[[], None]] = []
        self._at_next_commit: Callable[[], None] | None = None
        self._parts = 0
        self._executed: Cursor | None = None
        self._has_changes = False
        self._is_begun = False
        self._in_selector = False
        self._is_silent = False
        """Whether the server did not answer last time: then it is asked again, but not waited for again."""

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known without a question to the server."""
        return self._connection is not None and bool(self._connection.open)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one SELECT; `%s` is the placeholder of a bound value; with values, `%%` is a plain `%`.

        A list or tuple is a bound value, too: `WHERE Name IN %s`. Where one is empty no statement is sent.
        """
        return [] if has_empty_set(values) else list(self._run(sql, values).fetchall())

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute one changing statement; returns the number of rows that it changed. Values as of `rows`.

        Commands of Rocks' rolls give it a SELECT, too, which is no change, and fetch its rows.
        """
        if has_empty_set(values):
            self._executed = None
            return 0
        before, self._has_changes = self._has_changes, True
        cursor = self._run(sql, values)
        if cursor.description is not None:
            self._has_changes = before
        self._executed = cursor
        return cursor.rowcount

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of what the last `execute` selected, None after the last: for commands of Rocks' rolls."""
        return self._executed.fetchone() if self._executed else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left of what the last `execute` selected: for commands of Rocks' rolls."""
        return list(self._executed.fetchall()) if self._executed else []

    @property
    def has_changes(self) -> bool:
        """Whether the transaction has changes that are not committed."""
        return self._has_changes

    def note_change(self) -> None:
        """Count the transaction as one with changes: for a statement that changes something and returns rows."""
        self._has_changes = True

    def insert_many(self, sql_prefix: str, rows: Iterable[Sequence[Any]], sql_suffix: str = "") -> int:
        """Insert all rows with one statement: `INSERT INTO t (a, b) VALUES` and rows of two values each.

        `sql_suffix` may specify what happens to an existing row. Returns the number of inserted rows; without
        rows no statement is sent.
        """
        all_rows = [tuple(row) for row in rows]
        if not all_rows:
            return 0
        return self.execute(
            f"{sql_prefix} {', '.join(['%s'] * len(all_rows))} {sql_suffix}".rstrip(), all_rows
        )

    def commit(self) -> None:
        """Make the changes durable and visible to others, then do what `after_commit` was given.

        All of that is done, though a part of it fails; then the first error is raised, and the changes stay.
        """
        if self._at_next_commit is not None and self.is_connected:
            self._at_next_commit()
        self._end_transaction("COMMIT")
        self.commits += self._has_changes
        if self._connection is not None:
            self._at_next_commit = None
        self._has_changes = False
        self._do_after_commit()

    def _do_after_commit(self) -> None:
        actions, self._after_commit = self._after_commit, []
        first: BaseException | None = None
        for action in actions:
            try:
                action()
            except BaseException as error:  # also of Ctrl-C: the changes are made, and need the other actions
                if first is None or not isinstance(error, Exception):
                    first = error
        if first is not None:
            raise first

    @contextmanager
    def part(self) -> Iterator[None]:
        """A section whose changes, and calls after the commit, are undone when it raises; earlier ones stay.

        A part may have parts. What runs inside must neither commit nor roll back. After a BusyError the whole
        transaction must end: the database has rolled it back where two commands waited for each other.
        """
        actions, savepoint = len(self._after_commit), f"part_{self._parts}"
        self._run(f"SAVEPOINT {savepoint}")
        self._parts += 1
        try:
            yield
        except BaseException as error:
            del self._after_commit[actions:]
            try:
                self._run(f"ROLLBACK TO SAVEPOINT {savepoint}")
            except RocksError:
                # both may have ended the transaction, and the savepoint with it
                if not isinstance(error, (BusyError, KeyboardInterrupt)):
                    raise
            raise
        finally:
            self._parts -= 1

    def _end_transaction(self, statement: str) -> None:
        """COMMIT or ROLLBACK; nothing where no statement was sent since the last one: nothing is read or locked."""
        if self._connection is not None and self._is_begun:
            with self._errors_explained():
                self._connection.query(statement)
            self._is_begun = False

    def after_commit(self, action: Callable[[], None]) -> None:
        """Have the next commit call `action` at its end, once for all that are equal; a rollback forgets it."""
        if action not in self._after_commit:
            self._after_commit.append(action)

    def at_next_commit(self, action: Callable[[], None] | None) -> None:
        """Have the next commit call `action` first, to add a record of its own; None forgets an earlier one.

        The record is in the transaction of that commit. An `end_reading` that comes first calls it too, in a
        transaction of its own: what follows may change hosts. Its errors end the commit.
        """
        self._at_next_commit = action

    def rollback(self) -> None:
        """Undo the changes since the last commit."""
        self._after_commit = []
        self._end_transaction("ROLLBACK")
        self._has_changes = False

    def end_reading(self) -> None:
        """End a transaction without changes; call it before a host or a person is waited for. Changes stay open.

        What `after_commit` was given waits for the commit of the changes that are still to come.
        """
        if self._has_changes:
            return
        waiting = self._after_commit
        self.rollback()
        if self._at_next_commit is not None and self.is_connected:
            self.commit()
        self._after_commit = [*waiting, *self._after_commit]

    def end_command(self) -> None:
        """Keep the connection for the next command of this process: uncommitted changes undone, named locks released.

        A connection that cannot be used any more is ended; the next statement makes another.
        """
        self._after_commit = []
        self._at_next_commit = None
        connection = self._connection
        try:
            if connection is not None and connection.open:
                self._end_transaction("ROLLBACK")
                self._has_changes = False
                self._locks.close()
                return
        except RocksError:
            pass
        self.close()

    def check_connection(self) -> None:
        """End a connection that the server has ended, as it does after idle hours or a restart."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.ping(reconnect=False)
        except driver.driver_errors():
            self.close()

    def close(self) -> None:
        """End the connection; uncommitted changes are undone, named locks released."""
        connection, self._connection = self._connection, None
        self._has_changes = self._is_begun = False
        self._after_commit = []
        try:
            if connection is not None and connection.open:
                connection.close()
        finally:
            self._locks.close()  # last: the next holder must not meet rows that this one still locks

    @contextmanager
    def read_only(self) -> Iterator[Database]:
        """A section in which the server rejects every change, for the text of a `select …` selector.

        It must begin without uncommitted changes, and releases rows locked by SELECT … FOR UPDATE. Faults of the
        text raise UserError, and so does a statement that takes longer than `SELECTOR_SECONDS`.
        """
        if self._has_changes:
            raise BugError("a selector was evaluated between a change and its commit; please report this")
        self._run(f"SET SESSION max_statement_time = {SELECTOR_SECONDS}")
        self._run("START TRANSACTION READ ONLY")
        self._in_selector = True
        try:
            yield self
        finally:
            self._in_selector = False
            if self._connection is not None and self._connection.open:
                self._end_transaction("ROLLBACK")  # `rollback` would forget what waits for a commit
                self._has_changes = False
                self._run("SET SESSION max_statement_time = 0")

    def lock(self, name: str, wait_seconds: float) -> None:
        """Take the lock of that name (`vm vm-vc1-0`) until `unlock` or `close`; a commit does not release it.

        BusyError, with its name, when another command holds it for longer than `wait_seconds`.
        """
        self.lock_all([name], wait_seconds)

    @contextmanager
    def locked(self, name: str, wait_seconds: float) -> Iterator[None]:
        """A section with the lock of that name. BusyError as of `lock`."""
        self.lock(name, wait_seconds)
        try:
            yield
        finally:
            self.unlock(name)

    def lock_all(self, names: Iterable[str], wait_seconds: float) -> None:
        """Take all these locks or none, in an order that all commands share.

        BusyError, with the names of those that others hold, after `wait_seconds` in total.
        """
        missing = self._locks.take_all(dict.fromkeys(names), wait_seconds)
        if missing:
            raise self._locks.busy_with(missing, wait_seconds)

    def locked_by_others(self, names: Iterable[str]) -> list[str]:
        """The locks of these that other commands hold at this moment; takes none."""
        return self._locks.held_by_others(names, 0.0)

    def unlock(self, name: str) -> None:
        """Release a lock; a lock that this connection does not hold is ignored."""
        self.unlock_all([name])

    def unlock_wholly(self, name: str) -> None:
        """Release a lock, however often this connection has taken it."""
        self._locks.release_wholly(name)

    def unlock_others(self, names: Iterable[str]) -> None:
        """Release all locks but these, after the end of a transaction of several commands and before something slow."""
        self._locks.release_others(names)

    def unlock_all(self, names: Iterable[str]) -> None:
        """Release all these locks."""
        self._locks.release_all(dict.fromkeys(names))

    def _run(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        # MariaDB 10.11 accepts CREATE TABLE in a READ ONLY transaction, and silently ends the transaction
        if self._in_selector and not sql.lstrip().lower().startswith("select"):
            raise UserError("the cluster database refused the selector: it must begin with the word select")
        connection = self._connection or self._connect()
        self.statements += 1
        self._is_begun = True
        with self._errors_explained():
            return self._execute(connection, sql, tuple(values) or None)

    def _execute(self, connection: Connection[Cursor], sql: str, values: tuple[Any, ...] | None) -> Cursor:
        return execute_past_readers(connection, self.settings, sql, values)

    def _connect(self) -> Connection[Cursor]:
        with self._errors_explained():
            self._connection = self._open()
        self._is_begun = True  # the version was read
        return self._connection

    def _open(self) -> Connection[Cursor]:
        """A connection whose schema has the version of these programs."""
        name, needed = self.settings.database, versions.newest_version()
        seconds = driver.AGAIN_SECONDS if self._is_silent else None
        try:
            connection = driver.open_connection(self.settings, name, seconds)
        except driver.driver_errors() as error:
            if mariadb.error_code(error) == mariadb.NO_SUCH_DATABASE:
                raise versions.wrong_version(name, 0, needed) from None
            raise
        found = driver.read_version(connection)
        if found != needed:
            connection.close()
            raise versions.wrong_version(name, found, needed)
        if self._is_silent:
            driver.wait_as_usual(connection)
            self._is_silent = False
        return connection

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            raise UserError(f"{error.object!r} is not valid text: give it in UTF-8") from None
        except driver.driver_errors() as error:
            self._is_silent |= driver.is_silence(error)
            raise driver.explain(error, self.settings, self._in_selector) from None


class TracedDatabase(Database):
    """Prints each statement on standard error before it is sent, and each commit and rollback.

    Of bound values it prints their number: they may be secrets, and the output is sent with reports of faults.
    """

    def _end_transaction(self, statement: str) -> None:
        if self._is_begun:
            print(f"SQL: {statement}", file=sys.stderr)
        super()._end_transaction(statement)

    def _run(self, sql: str, values: Sequence[Any] = ()) -> Any:
        bound = f" ({len(values)} values)" if values else ""
        print(f"SQL: {' '.join(sql.split())}{bound}", file=sys.stderr)
        return super()._run(sql, values)


class UnconfiguredDatabase(Database):
    """Raises the error of the settings at the first use; a command that needs no database works."""

    def __init__(self, why: RocksError) -> None:
        super().__init__(Settings(None, "", 0, "", "", ""))
        self._why = why

    @property
    def settings(self) -> Settings:
        """Raises the error of the settings."""
        raise self._why

    @settings.setter
    def settings(self, settings: Settings) -> None:
        pass

    def lock_all(self, names: Iterable[str], wait_seconds: float) -> NoReturn:
        """Raises the error of the settings."""
        raise self._why

    def _connect(self) -> NoReturn:
        raise self._why
