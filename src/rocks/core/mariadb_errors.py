"""Numbers of MariaDB's errors, and of PyMySQL's, by what they mean. For `rocks` and Nucleus. Pure."""

from __future__ import annotations

CLOSED = 0
LOST = frozenset({CLOSED, 1053, 1927, 2006, 2013, 2014, 2055})
"""The connection cannot be used any more; what was not committed is undone."""

UNREACHABLE = frozenset({2002, 2003, 2005})
ACCESS_DENIED = frozenset({1044, 1045, 1698})
TOO_MANY_CONNECTIONS = frozenset({1040, 1203, 1226})
LOCK_TIMEOUTS = frozenset({1205, 1467})
"""1467: the lock of a table's next number, which an INSERT … SELECT holds while it waits for a row (MariaDB 10.11)."""

LOCKED_OUT = LOCK_TIMEOUTS | {1213}
"""Another transaction holds the rows: the wait was too long, or a deadlock."""

NO_PRIVILEGE = frozenset({1142, 1143, 1227, 1370})
BAD_VALUE = frozenset({1264, 1265, 1292, 1366, 1367, 1406, 3140, 4025})
DUPLICATE = 1062
READ_ONLY = 1792
TOO_SLOW = 1969
NO_SUCH_DATABASE = 1049
NO_SUCH_TABLE = 1146


def error_code(error: Exception) -> int | None:
    """The number of an error of the server or of PyMySQL; None when it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else None


def error_text(error: Exception) -> str:
    """The error's own text on one line."""
    return " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
