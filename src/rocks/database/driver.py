"""PyMySQL: imported late and in part, connected with the session settings of this system, errors translated."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from rocks.core import mariadb
from rocks.core.errors import BusyError, HostError, RocksError, ToolError, UserError
from rocks.core.version import is_packaged
from rocks.database.settings import EMBEDDED_SOCKET
from rocks.database.versions import READ_VERSION

if TYPE_CHECKING:
    from pymysql.connections import Connection as Connection  # noqa: TID251 - the one import of the driver
    from pymysql.cursors import Cursor as Cursor  # noqa: TID251

    from rocks.database.settings import Settings

CHARACTER_SET = "utf8mb4"
COLLATION = "utf8mb4_general_ci"
"""Text is compared without case, as names in this system are."""

CONNECT_SECONDS = 10
READ_SECONDS = 60
"""How long one statement may take; longer than the second that it waits for a lock."""

AGAIN_SECONDS = 1
"""How long a server is waited for that has just let a statement wait all its time."""

_DIGESTS = {"_md5", "_sha1", "_sha256", "_sha512", "_sha3", "_blake2"}
_STRICT = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_SESSION = (
    "SET SESSION tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 1, lock_wait_timeout = 1, "
    # from 1,000 names on, MariaDB would join a table of the names, and examine 20 times the rows of a view
    f"in_predicate_conversion_threshold = 0{mariadb.WITHOUT_SNAPSHOT_ISOLATION}"
)
"""Waits for locks are a second long: `blockers` repeats a statement that has waited."""


def open_connection(
    settings: Settings, database_name: str | None, read_seconds: int | None = None
) -> Connection[Cursor]:
    """A connection with utf8mb4, strict mode, READ COMMITTED and no autocommit. Raises PyMySQL's errors.

    A statement may take `read_seconds`, or `READ_SECONDS`.
    """
    read_seconds = READ_SECONDS if read_seconds is None else read_seconds
    driver = _import_driver(by_socket=settings.socket is not None)
    connection: Connection[Cursor] = driver.connect(
        unix_socket=settings.socket,
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password.encode("utf-8"),  # a text would be sent as Latin-1 (PyMySQL 1.2)
        database=database_name,
        charset=CHARACTER_SET,
        collation=COLLATION,
        sql_mode=_STRICT,
        init_command=_SESSION,
        autocommit=False,
        # PyMySQL would load the machine's authorities at every connection
        ssl_disabled=settings.socket is not None,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        write_timeout=read_seconds,
    )
    return connection


def read_version(connection: Connection[Cursor]) -> int:
    """The schema's version; 0 where there is no schema. Raises PyMySQL's errors."""
    cursor = connection.cursor()
    try:
        cursor.execute(READ_VERSION)
    except driver_errors() as error:
        if mariadb.error_code(error) == mariadb.NO_SUCH_TABLE:
            return 0
        raise
    return int(cursor.fetchall()[0][0])


def run_once(settings: Settings, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows of one statement, on a connection of its own that has no database. Raises PyMySQL's errors."""
    connection = open_connection(settings, None)
    cursor = connection.cursor()
    cursor.execute(sql, values)
    rows = list(cursor.fetchall())
    connection.close()
    return rows


def wait_as_usual(connection: Any) -> None:
    """Have the statements of PyMySQL's connection take `READ_SECONDS`, whatever it was opened with."""
    connection._read_timeout = connection._write_timeout = READ_SECONDS


def is_silence(error: Exception) -> bool:
    """Whether the server was silent for as long as it was waited for."""
    is_lost = mariadb.error_code(error) in mariadb.LOST | mariadb.UNREACHABLE
    return is_lost and "timed out" in mariadb.error_text(error)


def driver_errors() -> tuple[type[Exception], ...]:
    """The classes of PyMySQL's errors."""
    return (sys.modules["pymysql"].err.Error,) if "pymysql" in sys.modules else ()


def explain(error: Exception, settings: Settings, in_selector: bool) -> RocksError:
    """The error of this system for a failure.

    `in_selector`: the user of the command wrote the statement, so its faults are UserErrors.
    """
    code, message = mariadb.error_code(error), mariadb.error_text(error)
    if code is None:
        return ToolError(f"the driver of the cluster database failed: {message}; repeat the command")
    if code in mariadb.UNREACHABLE or code in mariadb.ACCESS_DENIED:
        return _explain_unreachable(error, settings)
    if code in mariadb.LOST:
        return HostError(
            f"lost the cluster database at {settings.place}: {message or 'the connection is closed'};"
            " uncommitted changes are undone; repeat the command"
        )
    if code in mariadb.TOO_MANY_CONNECTIONS:
        return BusyError(
            f"the cluster database at {settings.place} has too many connections; try again later"
        )
    if code in mariadb.LOCKED_OUT:
        return BusyError(
            f"another command holds the same rows of the cluster database ({message}); repeat this command"
        )
    if code == mariadb.DUPLICATE:
        return BusyError(
            f"the cluster database has this entry already: {message}; another command may just have added it"
        )
    if code in mariadb.NO_PRIVILEGE:
        return UserError(
            f"the cluster database refused this to user {settings.user}: {message}; run it as root"
        )
    if code == mariadb.READ_ONLY and in_selector:
        return UserError("the cluster database refused the selector: a selector may only read")
    if code == mariadb.TOO_SLOW:
        if in_selector:
            return UserError("the cluster database aborted the selector: it took too long; simplify it")
        return BusyError(
            "the cluster database aborted a statement that took too long; repeat the command later"
        )
    if code == mariadb.UNKNOWN_VARIABLE:  # of _SESSION; MySQL 8 has no tx_isolation
        return HostError(
            f"the server at {settings.place} is not MariaDB 10.5 or later, as the cluster database needs ({message});"
            " name such a server in /etc/rocks/database.conf"
        )
    if code in mariadb.BAD_VALUE:
        return UserError(f"the cluster database refused a value: {message}")
    family = UserError if in_selector else ToolError
    return family(
        f"the cluster database refused {'the selector' if in_selector else 'a statement'}: {message}"
    )


def _explain_unreachable(error: Exception, settings: Settings) -> HostError:
    cause = getattr(error, "original_exception", None)
    is_demo = not is_packaged() and (settings.socket or "").endswith(EMBEDDED_SOCKET)
    if mariadb.error_code(error) in mariadb.ACCESS_DENIED:
        why = mariadb.error_text(error)
        what = "run this as root, or run `rocks update database` as root, which renews the privilege to read"
        if is_demo:
            what += (
                ". The demo knows no account that is newer than it: as such a user run this with sudo, or begin the "
                "demo anew (`make demo-stop`, which removes its site, and `make demo`)"
            )
    elif isinstance(cause, FileNotFoundError):
        why = "the socket does not exist"
        start = " with `systemctl start rocks-database.service`" if is_packaged() else ""
        what = f"start the database{start}, or set its address in /etc/rocks/database.conf"
    else:
        why = getattr(cause, "strerror", None) or str(cause or mariadb.error_text(error))
        what = "check whether it runs, and its address in /etc/rocks/database.conf"
        if is_demo:
            what += "; a demo of this checkout is started again by `make demo` as root"
    return HostError(f"cannot reach the cluster database at {settings.place}: {why}; {what}")


def _import_driver(by_socket: bool) -> Any:
    """PyMySQL without optional modules that take more time to import than PyMySQL itself.

    `cryptography` serves only password plug-ins of MySQL 8, `ssl` only TCP, `getpass` only a connection without a
    user; all are optional for PyMySQL. Its password digests need no OpenSSL where Python has them built in (Debian;
    not RHEL). A later import of `hashlib` loads all of it.
    """
    if "pymysql" in sys.modules:
        return sys.modules["pymysql"]
    unwanted = ["cryptography", "getpass"]
    light_digests = by_socket and "hashlib" not in sys.modules and _DIGESTS.issubset(sys.builtin_module_names)
    if by_socket:
        unwanted += ["ssl", "_hashlib"] if light_digests else ["ssl"]
    hidden = [name for name in unwanted if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes the import fail
    try:
        driver = importlib.import_module("pymysql")
        mariadb.read_rows_quickly(sys.modules["pymysql.connections"])
        return driver
    finally:
        for name in hidden:
            del sys.modules[name]
        if light_digests:
            sys.modules.pop("hashlib", None)
