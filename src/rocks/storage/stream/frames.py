"""Frames of a transfer: the receiver gets the whole stream, or knows that it did not.

A frame is four bytes of length (big-endian, of the payload), one byte of kind, and the payload. A `DATA` frame contains
a part of the ZFS stream. The `END` frame contains the number of data frames and their bytes, and is sent only after the
sending program has succeeded. An `ERROR` frame contains the reason instead.

Frames detect a stream that is cut, or of which a part is missing. TLS detects every changed, repeated or reordered
byte, so that a frame needs no checksum of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from rocks.core.errors import CLASSES, HostError, IncoherentError, RocksError
from rocks.storage.stream.lines import error_of_line

FRAME_BYTES = 1024 * 1024
"""Payload of a full data frame. Large, since each costs a system call and a TLS record chain at both ends."""

_HEAD = struct.Struct(">IB")
_TOTALS = struct.Struct(">QQ")
_DATA, _END, _ERROR = 0x44, 0x45, 0x58
_MAXIMUM_PAYLOAD_BYTES = 4 * FRAME_BYTES


class FrameWriter:
    """Writes frames to a binary file; errors of the file are the caller's."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._frames = 0
        self._bytes = 0

    def data(self, payload: bytes) -> None:
        """Send a part of the stream, at most FRAME_BYTES long."""
        self._write(_DATA, payload)
        self._frames += 1
        self._bytes += len(payload)

    def end(self) -> None:
        """State that the stream is complete: its program has succeeded."""
        self._write(_END, _TOTALS.pack(self._frames, self._bytes))

    def error(self, error: RocksError) -> None:
        """End the stream with the reason."""
        self._write(_ERROR, f"{error.family} {error}".encode()[:_MAXIMUM_PAYLOAD_BYTES])

    def _write(self, kind: int, payload: bytes) -> None:
        self._target.write(_HEAD.pack(len(payload), kind))
        self._target.write(payload)
        if kind != _DATA:
            self._target.flush()


def read_frames(source: BinaryIO) -> Iterator[bytes]:
    """The parts of the stream in order; ends only after a correct `END` frame.

    The last part is yielded after the `END` frame has been checked: a `zfs receive` that is fed with the parts cannot
    complete a stream that is not complete. Raises the sender's own error, IncoherentError for a missing part or
    an invalid frame, HostError when the connection ends early.
    """
    frames = size_bytes = 0
    last = b""
    while True:
        kind, payload = _read_frame(source)
        if kind == _DATA:
            frames, size_bytes = frames + 1, size_bytes + len(payload)
            if last:
                yield last
            last = payload
        elif kind == _END:
            if payload != _TOTALS.pack(frames, size_bytes):
                raise IncoherentError("a part of the transfer is missing; it is not used")
            if last:
                yield last
            return
        else:
            raise _sender_error(payload)


def _read_frame(source: BinaryIO) -> tuple[int, bytes]:
    """A frame's kind and payload."""
    head = _read_exactly(source, _HEAD.size)
    length, kind = _HEAD.unpack(head)
    if kind not in (_DATA, _END, _ERROR) or length > _MAXIMUM_PAYLOAD_BYTES:
        error = error_of_line(head, source)  # the sender could not begin the stream that it had announced
        if error is not None:
            raise error
        raise IncoherentError(f"the transfer is damaged: no frame begins with {head.hex()}")
    return kind, _read_exactly(source, length)


def _read_exactly(source: BinaryIO, length: int) -> bytes:
    data = source.read(length)
    if data is None or len(data) < length:
        raise HostError("the far end closed the transfer before its end")
    return data


def _sender_error(payload: bytes) -> RocksError:
    family, _, text = payload.decode("utf-8", "replace").partition(" ")
    return CLASSES.get(family, IncoherentError)(text or "the far end ended the transfer without a reason")
