"""Requests to device-mapper and its answers, byte for byte as linux/dm-ioctl.h has them."""

import struct

from rocks.storage.device_mapper.ioctl import (
    DEV_SUSPEND,
    TABLE_LOAD,
    pack_request,
    pack_target,
    request_number,
    unpack_names,
    unpack_reply,
    unpack_targets,
)
from rocks.storage.device_mapper.tables import Target


def test_numbers_of_requests() -> None:
    """_IOWR(0xfd, n, 312 bytes), as strace shows them for dmsetup."""
    assert request_number(DEV_SUSPEND) == 0xC138FD06
    assert request_number(TABLE_LOAD) == 0xC138FD09


def test_a_request_has_the_layout_of_the_kernel() -> None:
    """Offsets from the header: data_size 12, data_start 16, flags 28, event_nr 32, name 48, uuid 176, data at 312."""
    message = pack_request("a-snap", 0x402, "ROCKS-a", [Target(0, 16, "linear", "1:0 0")], 0x4E0000, 1024)
    assert len(message) == 312 + 1024
    assert struct.unpack_from("=3I", message, 0) == (4, 0, 0)
    assert struct.unpack_from("=III", message, 12) == (312 + 1024, 312, 1)
    assert struct.unpack_from("=II", message, 28) == (0x402, 0x4E0000)
    assert message[48:55] == b"a-snap\0"
    assert message[176:184] == b"ROCKS-a\0"
    assert struct.unpack_from("=QQiI16s", message, 312) == (0, 16, 0, 48, b"linear".ljust(16, b"\0"))
    assert message[352:358] == b"1:0 0\0"


def test_a_request_has_all_targets() -> None:
    """One after the other; `next` leads from each to the following one (next_target in dm-ioctl.c)."""
    rows = [Target(0, 8, "error", ""), Target(8, 56, "error", "")]
    message = pack_request("a", 0, "", rows, 0, 8)
    assert struct.unpack_from("=I", message, 20) == (2,)
    following = struct.unpack_from("=QQiI16s", message, 312)[3]
    second = struct.unpack_from("=QQiI16s", message, 312 + following)
    assert second == (8, 56, 0, following, b"error".ljust(16, b"\0"))
    assert len(message) == 312 + 2 * following


def test_a_row_is_as_long_as_a_multiple_of_8() -> None:
    """Its parameters ended by a zero within it."""
    for length in range(1, 30):
        row = pack_target(Target(0, 1, "linear", "x" * length))
        assert len(row) % 8 == 0
        assert struct.unpack_from("=I", row, 20)[0] == len(row)
        assert row[40 + length] == 0


def test_rows_of_an_answer() -> None:
    """`next` counts from the first row there, not from the row itself."""
    rows = [Target(0, 8, "linear", "1:0 0"), Target(8, 8, "error", "")]
    first, second = (bytearray(pack_target(row)) for row in rows)
    struct.pack_into("=I", second, 20, len(first) + len(second))
    assert list(unpack_targets(bytes(first + second), 2)) == rows
    assert list(unpack_targets(b"", 0)) == []


def test_an_answer() -> None:
    """Flags, how often it is open, its number and UUID, what follows."""
    message = pack_request("a", 0, "ROCKS-a", (), 0, 8)
    struct.pack_into("=IiI", message, 20, 2, 3, 0x22)
    struct.pack_into("=Q", message, 40, 253 << 8 | 7)
    message[312:] = b"12345678"
    reply = unpack_reply(bytes(message))
    assert reply == (0x22, 3, 2, "253:7", "ROCKS-a", b"12345678")


def test_names() -> None:
    """Entries until one without a next; an empty list is nothing, or an entry without a device."""
    entries = (
        struct.pack("=QI8s", 0xFD00, 24, b"first") + b"\0" * 4 + struct.pack("=QI8s", 0xFD01, 0, b"second")
    )
    assert list(unpack_names(entries)) == ["first", "second"]
    assert list(unpack_names(b"")) == []
    assert list(unpack_names(b"\0" * 64)) == []
