"""Rows of packets are those that PyMySQL would read."""

import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pymysql.err import OperationalError  # noqa: TID251
from pymysql.protocol import MysqlPacket  # noqa: TID251

from rocks.core.mariadb import read_row


def pymysqls_own_method() -> Callable[[Any, Any], tuple[Any, ...]]:
    """Of a copy of the module: the one that is imported may have ours."""
    spec = importlib.util.find_spec("pymysql.connections")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own: Callable[[Any, Any], tuple[Any, ...]] = module.MySQLResult._read_row_from_packet
    assert own is not read_row
    return own


def test_a_row_is_read_as_by_pymysql() -> None:
    own, cells = pymysqls_own_method(), bytearray()
    result = SimpleNamespace(converters=[])
    for length in (0, 1, 250, 251, 65_535, 65_536, 1 << 24):
        size = next(size for size in (0, 2, 3, 8) if length < (251 if size == 0 else 1 << 8 * size))
        cells += bytes([{0: length, 2: 252, 3: 253, 8: 254}[size]]) + length.to_bytes(8, "little")[:size]
        cells += b"7" * length + b"\xfb" + b"\x02\xc3\xbc"
        result.converters += [(None, None), (None, None), ("utf-8", None)]
    cells += b"\x0242"
    result.converters.append(("ascii", int))
    rows = [read(result, MysqlPacket(bytes(cells), "utf-8")) for read in (own, read_row)]
    assert rows[0] == rows[1]
    assert rows[1][-3:] == (None, "ü", 42)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0242",
        b"\x0242\x0aabc",
        b"\x0242\xff",
        b"\x0242\xfc\x01",
        b"\x0242\xfe" + b"\xff" * 8 + b"abc",
        b"\x0242\x03\xc3",
        b"\x02\x00x\x00",
        b"\x05",
    ],
)
def test_a_row_that_is_malformed_closes_the_connection(data: bytes) -> None:
    closed: list[bool] = []
    connection = SimpleNamespace(_force_close=lambda: closed.append(True))
    result = SimpleNamespace(converters=[("ascii", int), ("utf-8", None)], connection=connection)
    with pytest.raises(OperationalError) as raised:
        read_row(result, MysqlPacket(data, "utf-8"))
    assert raised.value.args[0] == 2013
    assert closed == [True]
