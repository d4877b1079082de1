"""Readers that block root's statements: their connections are ended (decision 30).

A reader of the database needs no other privilege to lock rows (`SELECT … FOR UPDATE`) or a table's definition (any open
transaction), and MariaDB 10.11 has no limit that a session cannot lift itself. So a statement of root that waits for a
lock ends the transactions of readers, and is sent again.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from rocks.core import mariadb
from rocks.database import driver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.database.driver import Connection, Cursor
    from rocks.database.settings import Settings

ATTEMPTS = 40
"""How often a statement is sent that waits a second for locks; other commands of root are waited for, not ended."""

_WAIT_SECONDS = 0.2
"""After which a statement is in the queue for its lock."""

READERS = (
    "SELECT p.ID FROM information_schema.PROCESSLIST p WHERE p.ID <> CONNECTION_ID()"
    " AND p.USER NOT IN ('system user', 'event_scheduler', 'unauthenticated user')"
    " AND NOT EXISTS (SELECT 1 FROM mysql.user u WHERE u.User = p.USER AND (u.Update_priv = 'Y' OR u.Super_priv = 'Y'"
    " OR u.Repl_slave_priv = 'Y'))"
    " AND NOT EXISTS (SELECT 1 FROM mysql.db d WHERE d.User = p.USER AND d.Update_priv = 'Y')"
)
"""Connections of users who may not change the tables of any database."""

_WITH_ROW_LOCKS = (
    " AND EXISTS (SELECT 1 FROM information_schema.INNODB_TRX x"
    " WHERE x.trx_mysql_thread_id = p.ID AND x.trx_lock_structs > 0)"
)
_OF_ROWS = frozenset(("select", "insert", "update", "delete", "replace"))
"""First words of statements that wait for row locks only; readers may not lock a table against these."""


def execute_past_readers(
    connection: Connection[Cursor], settings: Settings, sql: str, values: tuple[object, ...] | None
) -> Cursor:
    """Execute a statement; while it waits for locks, end the readers that may hold them. Raises PyMySQL's errors."""
    only_with_row_locks = sql.split(None, 1)[0].lower() in _OF_ROWS
    for attempt in range(1, ATTEMPTS + 1):
        cursor = connection.cursor()
        try:
            with _readers_ended(settings, only_with_row_locks) if attempt > 1 else contextlib.nullcontext():
                cursor.execute(sql, values)
            return cursor
        except driver.driver_errors() as error:
            # the timeout undoes the statement, not the transaction (innodb_rollback_on_timeout is off by default)
            if mariadb.error_code(error) not in mariadb.LOCK_TIMEOUTS or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _readers_ended(settings: Settings, only_with_row_locks: bool) -> Iterator[None]:
    """Connections of readers are ended while the statement waits.

    It is then the first in the queue for the lock. One that came only after their end would often find that a reader
    has connected and locked again.
    """
    from threading import Timer  # no other command pays for it

    # every use of a table in a transaction, and HANDLER, holds its definition
    ending = Timer(_WAIT_SECONDS, _end_readers, (settings, only_with_row_locks))
    ending.start()
    try:
        yield
    finally:
        ending.cancel()
        ending.join()


def _end_readers(settings: Settings, only_with_row_locks: bool) -> None:
    """End connections of readers; without the privilege to do that, nothing happens."""
    with contextlib.suppress(*driver.driver_errors()):
        connection = driver.open_connection(settings, None)
        try:
            cursor = connection.cursor()
            cursor.execute(READERS + (_WITH_ROW_LOCKS if only_with_row_locks else ""))
            for (number,) in cursor.fetchall():
                with contextlib.suppress(*driver.driver_errors()):  # it has just ended by itself
                    cursor.execute("KILL HARD CONNECTION %s", (number,))
        finally:
            connection.close()
