"""Numbers of MariaDB's errors, and of PyMySQL's, by what they mean; rows of its packets. For `rocks` and Nucleus.

Rows are read in half the time of PyMySQL: a large site has a million cells.
"""

from __future__ import annotations

from typing import Any

CLOSED = 0
SERVER_LOST = 2013
LOST = frozenset({CLOSED, 1053, 1927, 2006, SERVER_LOST, 2014, 2055})
"""The connection cannot be used any more; what was not committed is undone."""

UNREACHABLE = frozenset({2002, 2003, 2005})
ACCESS_DENIED = frozenset({1044, 1045, 1698})
TOO_MANY_CONNECTIONS = frozenset({1040, 1203, 1226})
LOCK_TIMEOUTS = frozenset({1205, 1467})
"""1467: the lock of a table's next number, which an INSERT … SELECT holds while it waits for a row (MariaDB 10.11)."""

LOCKED_OUT = LOCK_TIMEOUTS | {1020, 1213}
"""Another transaction holds the rows: the wait was too long, or a deadlock; or it has changed them (1020)."""

WITHOUT_SNAPSHOT_ISOLATION = "/*M!110602 , innodb_snapshot_isolation = OFF*/"
"""A part of SET SESSION for MariaDB 11.6.2 and later, where it is ON by default: a statement ends with error 1020 there
when a row was changed after the transaction had first looked. Servers before that, and MySQL, take it for a comment.
"""

NO_PRIVILEGE = frozenset({1142, 1143, 1227, 1370})
BAD_VALUE = frozenset({1264, 1265, 1292, 1366, 1367, 1406, 3140, 4025})
DUPLICATE = 1062
READ_ONLY = 1792
TOO_SLOW = 1969
UNKNOWN_VARIABLE = 1193
NO_SUCH_DATABASE = 1049
NO_SUCH_TABLE = 1146

_NULL = 251
_BYTES_OF_LENGTH = {252: 2, 253: 3, 254: 8}
"""First byte of a cell → how many bytes have its length; a smaller byte than `_NULL` is the length."""


def error_code(error: Exception) -> int | None:
    """The number of an error of the server or of PyMySQL; None when it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else None


def error_text(error: Exception) -> str:
    """The error's own text on one line."""
    return " ".join(str(error.args[1] if len(error.args) > 1 else error).split())


def read_rows_quickly(connections: Any) -> None:
    """Have PyMySQL, whose module `connections` this is, read each row by `read_row`."""
    connections.MySQLResult._read_row_from_packet = read_row


def read_row(result: Any, packet: Any) -> tuple[Any, ...]:
    """The row of a packet, as PyMySQL's own method gives it.

    OperationalError 2013 of PyMySQL for a packet that is no such row; then the connection is closed, as for one that
    the server has cut off.
    """
    data, position = packet.get_all_data(), 0
    row: list[Any] = []
    try:
        for encoding, converter in result.converters:
            length = data[position]
            position += 1
            if length == _NULL:
                row.append(None)
                continue
            if length > _NULL:
                end = position + _BYTES_OF_LENGTH[length]
                length, position = int.from_bytes(data[position:end], "little"), end
            end = position + length
            cell = data[position:end] if encoding is None else data[position:end].decode(encoding)
            row.append(cell if converter is None else converter(cell))
            position = end
    except (LookupError, ValueError, ArithmeticError):  # a cell that is cut off may fail in its converter
        raise _malformed(result) from None
    if position > len(data):
        raise _malformed(result)
    return tuple(row)


def _malformed(result: Any) -> Exception:
    from pymysql.err import OperationalError  # noqa: TID251 - who has its packets has imported it

    result.connection._force_close()
    return OperationalError(SERVER_LOST, "the server sent a row that cannot be read")
