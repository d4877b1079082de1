"""Rows of MariaDB's packets, in half the time of PyMySQL: a large site has a million cells. For `rocks` and Nucleus."""

from __future__ import annotations

from typing import Any

_SERVER_LOST = 2013
_NULL = 251
_BYTES_OF_LENGTH = {252: 2, 253: 3, 254: 8}
"""First byte of a cell → how many bytes have its length; a smaller byte than `_NULL` is the length."""


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
    return OperationalError(_SERVER_LOST, "the server sent a row that cannot be read")
