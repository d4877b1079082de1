"""The frontend's end of an import: sends the content of a file to a new volume of a NAS, and verifies it there."""

from __future__ import annotations

import hashlib
import os
import ssl
import struct
from typing import BinaryIO, Callable, Iterator, NamedTuple, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import IncoherentError, UserError
from rocks.core.image_blocks import data_blocks
from rocks.storage import limits
from rocks.storage.stream.frames import FrameWriter, Opening, receive_line, send_line, write_opening
from rocks.storage.stream.pace import Meter, Progress
from rocks.storage.stream.transport import connect

_PIECE_BYTES = 512 * 1024
_OFFSET = struct.Struct(">Q")
_ZEROS = bytes(_PIECE_BYTES)

Listener = Callable[[Progress], None]


class Destination(NamedTuple):
    """The target of an import: the NAS and its transfer port, the volume's full name, its guid and size."""

    nas: str
    address: str
    port: int
    volume: str
    guid: str
    size_bytes: int


def send_file(file: BinaryIO, destination: Destination, context: ssl.SSLContext, listener: Listener) -> str:
    """Send an open raw image; returns the digest (BLAKE2b) of the whole volume, on which both ends agree.

    Holes and zeros are not sent. UserError when the file changes meanwhile, IncoherentError when the NAS reads back
    different content; the volume stays unused then.
    """
    before = _content_of(file)
    opening = write_opening(Opening("import", destination.volume, 0, destination.guid))
    digest = hashlib.blake2b()
    meter = Meter(destination.size_bytes, monotonic_seconds())
    sent_at = monotonic_seconds()
    with connect(context, destination.address, destination.port, destination.nas, opening) as connection:
        receive_line(connection.reader)
        frames = FrameWriter(connection.writer)
        for offset, data in pieces(file, destination.size_bytes):
            digest.update(data)
            now = monotonic_seconds()
            if data != _ZEROS[: len(data)]:
                frames.data(_OFFSET.pack(offset) + data)
                sent_at = now
            elif now - sent_at > limits.ALIVE_SECONDS:
                frames.data(b"")  # of a long hole nothing is sent, and the NAS would end a silent connection
                connection.writer.flush()
                sent_at = now
            listener(meter.add(len(data), now))
        frames.end()
        while "digest" not in (answer := receive_line(connection.reader)):
            pass  # the NAS says that it still reads
        if answer["digest"] != digest.hexdigest():
            raise IncoherentError(
                f"{destination.volume} on {destination.nas} differs from what was sent, and stays unusable: repeat the "
                "command"
            )
        if _content_of(file) != before:
            raise UserError(
                f"the file was changed while it was read; {destination.volume} stays unusable: repeat the command when "
                "it is complete"
            )
        send_line(connection.writer, {"agreed": True})
        receive_line(connection.reader)
    return digest.hexdigest()


def send_base(
    descriptor: int, destination: Destination, context: ssl.SSLContext, listener: Listener, used_bytes: int
) -> None:
    """Send the blocks of an image of the library to its base volume.

    The NAS computes the digest of what it has, and completes the base only with the right one: its error is raised.
    """
    opening = write_opening(Opening("base", destination.volume, 0, destination.guid))
    meter = Meter(used_bytes, monotonic_seconds())

    with connect(context, destination.address, destination.port, destination.nas, opening) as connection:
        receive_line(connection.reader)
        frames = FrameWriter(connection.writer)
        for offset, block in data_blocks(descriptor):
            frames.data(_OFFSET.pack(offset) + block)
            listener(meter.add(len(block), monotonic_seconds()))
        frames.end()
        while "complete" not in receive_line(connection.reader):
            pass  # the NAS says that it still reads


def pieces(file: BinaryIO, size_bytes: int) -> Iterator[Tuple[int, bytes]]:
    """The whole file in order, then zeros up to that size; holes are not read."""
    offset = 0
    length = os.fstat(file.fileno()).st_size
    data_begins = _next_data(file, 0)
    while offset < size_bytes:
        size = min(_PIECE_BYTES, size_bytes - offset)
        if offset < length and data_begins < offset:
            data_begins = _next_data(file, offset)
        if offset >= length or data_begins >= offset + size:
            yield offset, _ZEROS[:size]
        else:
            yield offset, _read(file, offset, min(size, length - offset)).ljust(size, b"\0")
        offset += size


def _read(file: BinaryIO, offset: int, count: int) -> bytes:
    """All of these bytes: a file system may give fewer at a time. UserError when the file became shorter."""
    found = b""
    while len(found) < count:
        data = os.pread(file.fileno(), count - len(found), offset + len(found))
        if not data:
            raise UserError(
                "the file became shorter while it was read; repeat the command when it is complete"
            )
        found += data
    return found


def _content_of(file: BinaryIO) -> Tuple[int, int, int]:
    """What differs after each change of the file: nobody can set the time of its last change."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _next_data(file: BinaryIO, offset: int) -> int:
    """Offset of the next data; beyond the end when there is none."""
    try:
        return os.lseek(file.fileno(), offset, os.SEEK_DATA)
    except OSError:
        return 1 << 62
