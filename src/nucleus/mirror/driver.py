"""PyMySQL: how the schema of Nucleus is reached, and its errors as those of this system."""

from __future__ import annotations

import contextlib
import datetime
from typing import TYPE_CHECKING, Any

import pymysql.connections
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.converters import conversions, convert_datetime

from rocks.core.errors import BusyError, HostError, RocksError, StateError, ToolError, UserError
from rocks.core.mariadb import (
    ACCESS_DENIED,
    BAD_VALUE,
    CLOSED,
    DUPLICATE,
    LOCKED_OUT,
    LOST,
    NO_SUCH_DATABASE,
    NO_SUCH_TABLE,
    TOO_MANY_CONNECTIONS,
    TOO_SLOW,
    UNREACHABLE,
    WITHOUT_SNAPSHOT_ISOLATION,
    error_code,
    error_text,
    read_rows_quickly,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    from nucleus.configuration import DatabaseSettings

SILENCE_SECONDS = 4
"""A server that says nothing for so long does not answer: owners know within 5 seconds, whatever they asked."""

SETUP_SECONDS = 60
"""How long the server may be silent while the schema is changed: a statement may copy a table."""

LOCK_WAIT_SECONDS = 3
"""Less than `SILENCE_SECONDS`: a server that waits for a row says so before it counts as silent."""

STATEMENT_SECONDS = 3.5
"""The limit of a statement in a pool, between the two: the server ends it before it counts as silent."""

_SESSION = (
    "SET SESSION tx_isolation = 'READ-COMMITTED', time_zone = '+00:00',"
    f" innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    f"{WITHOUT_SNAPSHOT_ISOLATION}"
)

_UNREACHABLE = UNREACHABLE | ACCESS_DENIED | TOO_MANY_CONNECTIONS

SILENT = "the database does not answer; try again in a moment"

DRIVER_ERRORS: tuple[type[Exception], ...] = (pymysql.err.Error, OSError)


class DuplicateError(StateError):
    """A row with this unique value is there already."""


class NoConnectionError(BusyError):
    """All connections of a pool are in use."""


class SilentError(HostError):
    """The server is connected, and says nothing."""


def _utc(text: Any) -> Any:
    value = convert_datetime(text)
    return value.replace(tzinfo=datetime.UTC) if isinstance(value, datetime.datetime) else value


read_rows_quickly(pymysql.connections)

_CONVERSIONS: Any = {
    **conversions, FIELD_TYPE.DATETIME: _utc, FIELD_TYPE.TIMESTAMP: _utc, FIELD_TYPE.TINY: lambda text: bool(int(text)),
}  # fmt: skip


def connect(
    settings: DatabaseSettings,
    database: str | None,
    user: str | None = None,
    *,
    silence_seconds: float,
    statement_seconds: float = 0,
    commits_itself: bool = False,
) -> Connection[Cursor]:
    """A connection: READ COMMITTED, strict, UTC; DATETIME becomes an aware moment, and BOOLEAN a bool.

    `commits_itself`: each statement is a transaction of its own until one begins. An UPDATE counts the rows that it
    found, changed or not. A server that is silent for `silence_seconds` is lost; it ends a statement after
    `statement_seconds`, if that is not 0. Raises `DRIVER_ERRORS`.
    """
    return pymysql.connect(
        unix_socket=settings.socket,
        user=user or settings.user,
        database=database,
        charset="utf8mb4",
        collation="utf8mb4_general_ci",  # the server's own is another one since MariaDB 11.5
        init_command=f"{_SESSION}, max_statement_time = {statement_seconds}",
        autocommit=commits_itself,
        ssl_disabled=True,
        client_flag=CLIENT.FOUND_ROWS,
        conv=_CONVERSIONS,
        connect_timeout=silence_seconds,
        read_timeout=silence_seconds,
        write_timeout=silence_seconds,
    )


def _code(error: Exception) -> int:
    """The error's number. One without is PyMySQL's own, whose connection is in no known state."""
    return error_code(error) or CLOSED


def is_silent(error: Exception) -> bool:
    """Whether the server was silent for too long: it is stopped, or its disk is."""
    return isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)


@contextlib.contextmanager
def explained(settings: DatabaseSettings) -> Iterator[None]:
    """Failures of the driver in the block become errors of this system."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise explain(error, settings) from None


def explain(error: Exception, settings: DatabaseSettings) -> RocksError:
    """The error of this system for a failure of the driver."""
    code = _code(error)
    message = error_text(error)
    place = f"the database {settings.name} at {settings.socket}"
    if is_silent(error):
        return SilentError(SILENT)
    if code in _UNREACHABLE or isinstance(error, OSError):
        return HostError(f"cannot reach {place}: {message}; run `systemctl status rocks-database.service`")
    if code in LOST:
        return HostError(
            f"lost {place}: {message or 'the connection is closed'}; nothing was changed, try again"
        )
    if code in LOCKED_OUT:
        return BusyError("another request holds the same rows of the database; repeat this one")
    if code == TOO_SLOW:
        return HostError(f"{place} has ended a statement that took longer than {STATEMENT_SECONDS} s")
    if code == DUPLICATE:
        return DuplicateError(f"it is there already: {message}")
    if code in (NO_SUCH_DATABASE, NO_SUCH_TABLE):
        return StateError(f"{place} is not set up; run `nucleus setup` as root")
    if code in BAD_VALUE:
        return UserError(f"the database refused a value: {message}")
    return ToolError(f"the database refused a statement: {message}")


def open_connection(settings: DatabaseSettings, *, commits_itself: bool = False) -> Connection[Cursor]:
    """A connection to the schema, as `connect` makes it. HostError; StateError before there is one."""
    with explained(settings):
        return connect(
            settings,
            settings.name,
            silence_seconds=SILENCE_SECONDS,
            statement_seconds=STATEMENT_SECONDS if commits_itself else 0,
            commits_itself=commits_itself,
        )


def commit(connection: Connection[Cursor], settings: DatabaseSettings) -> None:
    """Commit. SilentError and HostError: whether it was stored is not known; others as of `explain`."""
    try:
        connection.commit()
    except DRIVER_ERRORS as error:
        if is_silent(error):
            raise SilentError(
                "the database did not answer the commit of a change; whether it was stored is not known: look at what"
                " it concerns before you repeat it"
            ) from None
        # the connection is lost: the server may have committed before its answer was
        if isinstance(error, OSError) or _code(error) in LOST | _UNREACHABLE:
            raise HostError(
                f"lost the database {settings.name} at {settings.socket} at the commit of a change; whether it was"
                " stored is not known: look at what it concerns before you repeat it"
            ) from None
        raise explain(error, settings) from None


def answers(connection: Connection[Cursor]) -> bool:
    """Whether it can be used; one that was closed cannot. SilentError."""
    try:
        connection.ping(reconnect=False)
        return True
    except DRIVER_ERRORS as error:
        if is_silent(error):
            raise SilentError(SILENT) from None
        return False


def rolled_back(connection: Connection[Cursor]) -> bool:
    """Whether the transaction was undone, and the connection can be used again."""
    try:
        connection.rollback()
        return True
    except DRIVER_ERRORS:
        return False


def end(connection: Connection[Cursor]) -> None:
    """Close it, in whatever state it is."""
    with contextlib.suppress(*DRIVER_ERRORS):
        connection.close()
