"""What both ends of a transfer send: lines of JSON before and between the streams, and the streams in frames."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Callable, Dict, Mapping, NamedTuple, Optional

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import CLASSES, HostError, IncoherentError, RocksError
from rocks.fleet.wire.received import parse_json
from rocks.storage import limits

VERSION = 2
"""The version of lines and frames; both ends have the same. Frames of version 1 had checksums."""
_LONGEST_LINE_BYTES = 1024 * 1024


class Opening(NamedTuple):
    """The request of a host: the image, its grant, and the direction. `to_guid` is the snapshot to be transferred."""

    purpose: str
    image_id: str
    epoch: int
    to_guid: str


def write_opening(opening: Opening) -> bytes:
    """The first line of a connection, without its end."""
    return json.dumps({"v": VERSION, **opening._asdict()}).encode()


def read_opening(line: bytes) -> Opening:
    """The request in the first line. IncoherentError when it is invalid, or of another version."""
    fields = _parse(line)
    if fields.get("v") != VERSION:
        raise IncoherentError(
            f"the transfer is of version {fields.get('v')!r}, and this node has version {VERSION}: install the same "
            "release on both nodes"
        )
    try:
        return Opening(
            str(fields["purpose"]), str(fields["image_id"]), int(fields["epoch"]), str(fields["to_guid"])
        )
    except (KeyError, ValueError, TypeError):
        raise IncoherentError("the first line of the transfer is invalid") from None


def send_line(writer: BinaryIO, fields: Mapping[str, Any]) -> None:
    """Send a line."""
    writer.write(json.dumps(fields, separators=(",", ":")).encode() + b"\n")
    writer.flush()


def alive_reporter(writer: BinaryIO) -> Callable[[int], None]:
    """A function for each part that is read: it says now and then to the other end that this one still reads."""
    last = monotonic_seconds()

    def report(part_bytes: int) -> None:
        nonlocal last
        if monotonic_seconds() - last > limits.ALIVE_SECONDS:
            last = monotonic_seconds()
            send_line(writer, {"reading": part_bytes})

    return report


def send_error(writer: BinaryIO, error: RocksError) -> None:
    """Send an error in the place of a line."""
    send_line(writer, {"error": str(error), "family": error.family})


def receive_line(reader: BinaryIO) -> Dict[str, Any]:
    """The next line. Raises the error that the other end sent instead; HostError when the connection ends."""
    fields = _read_fields(reader, b"")
    error = _stated_error(fields)
    if error is not None:
        raise error
    return fields


def error_of_line(begin: bytes, reader: BinaryIO) -> Optional[RocksError]:
    """The error in a line whose first bytes, `begin`, were read already; None when it is no such line."""
    try:
        return _stated_error(_read_fields(reader, begin))
    except (IncoherentError, HostError):
        return None


def _stated_error(fields: Mapping[str, Any]) -> Optional[RocksError]:
    if "error" not in fields:
        return None
    return CLASSES.get(str(fields.get("family")), IncoherentError)(str(fields["error"]))


def _read_fields(reader: BinaryIO, begin: bytes) -> Dict[str, Any]:
    line = begin + reader.readline(_LONGEST_LINE_BYTES - len(begin))
    if not line.endswith(b"\n"):
        raise HostError("the far end closed the transfer before its end")
    return _parse(line)


def number(fields: Mapping[str, Any], name: str) -> int:
    """A field with a size. IncoherentError when it has none."""
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise IncoherentError(f"a line of the transfer has no valid {name}")
    return value


def _parse(line: bytes) -> Dict[str, Any]:
    try:
        fields = parse_json(line.decode("utf-8"))
    except ValueError:  # also what JSON allows and no side of ours sends, such as very deep nesting
        raise IncoherentError("a line of the transfer is no JSON") from None
    if not isinstance(fields, dict):
        raise IncoherentError("a line of the transfer is no JSON object")
    return fields


# --- frames: the receiver gets the whole stream, or knows that it did not --------------------------------------------
# A frame is four bytes of length (big-endian, of the payload), one byte of kind, and the payload. A `DATA` frame
# contains a part of the ZFS stream. The `END` frame contains the number of data frames and their bytes, and is sent
# only after the sending program has succeeded. An `ERROR` frame contains the reason instead.
#
# Frames detect a stream that is cut, or of which a part is missing. TLS detects every changed, repeated or reordered
# byte, so that a frame needs no checksum of its own.


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
