"""Frames of a transfer: what is sent arrives whole and in order, or the far end knows that it did not.

A frame is four bytes of length (big-endian, of what follows the kind), one byte of kind, four bytes of CRC-32 of the
payload, and the payload. `DATA` carries a part of the ZFS stream, `END` the BLAKE2b digest of the heads of all of them,
in order, and comes only after the sending program has ended well, `ERROR` carries a sentence instead.

The digest covers lengths and checksums and not each byte once more: TLS has authenticated every byte, and `zfs receive`
looks at the checksums that the stream itself carries. Hashing all of it at both ends took more than half of the
processor time of a transfer.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from rocks.errors import CLASSES, HostError, IncoherentError, RocksError

FRAME_BYTES = 1024 * 1024
"""Payload of a full data frame. Large, since each costs a system call and a TLS record chain at both ends."""

_HEAD = struct.Struct(">IBI")
_DATA, _END, _ERROR = 0x44, 0x45, 0x58
_DIGEST_BYTES = 32
_MAXIMUM_PAYLOAD_BYTES = 4 * FRAME_BYTES


class FrameWriter:
    """Writes frames to a binary file; errors of the file are the caller's."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.bytes_done = 0

    def data(self, payload: bytes) -> None:
        """A part of the stream, at most FRAME_BYTES long."""
        self._digest.update(self._write(_DATA, payload))
        self.bytes_done += len(payload)

    def end(self) -> None:
        """All of it has been sent, and the program that made it has ended well."""
        self._write(_END, self._digest.digest())

    def error(self, error: RocksError) -> None:
        """The stream ends here, and why."""
        self._write(_ERROR, f"{error.family} {error}".encode()[:_MAXIMUM_PAYLOAD_BYTES])

    def _write(self, kind: int, payload: bytes) -> bytes:
        """Write a frame; returns its head."""
        head = _HEAD.pack(len(payload), kind, zlib.crc32(payload))
        self._target.write(head)
        self._target.write(payload)
        if kind != _DATA:
            self._target.flush()
        return head


def read_frames(source: BinaryIO) -> Iterator[bytes]:
    """The parts of the stream in order; ends only when the far end said that this was all, and the digest agrees.

    The part before the end is handed out after the end has been seen to be right: whoever passes the parts on to
    `zfs receive` keeps it from finishing with a stream that nobody vouches for. Raises the far end's own error,
    IncoherentError for damage, HostError when the connection ends early.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    held_back = b""
    while True:
        head, kind, payload = _read_frame(source)
        if kind == _DATA:
            digest.update(head)
            if held_back:
                yield held_back
            held_back = payload
        elif kind == _END:
            if payload != digest.digest():
                raise IncoherentError("the transfer's digest is another than its sender's; it is not used")
            if held_back:
                yield held_back
            return
        else:
            raise _far_error(payload)


def _read_frame(source: BinaryIO) -> tuple[bytes, int, bytes]:
    """A frame's head, kind and payload, which is as its head says."""
    head = _read_exactly(source, _HEAD.size)
    length, kind, checksum = _HEAD.unpack(head)
    if kind not in (_DATA, _END, _ERROR) or length > _MAXIMUM_PAYLOAD_BYTES:
        raise IncoherentError(f"the transfer is damaged: no frame begins with {head.hex()}")
    payload = _read_exactly(source, length)
    if zlib.crc32(payload) != checksum:
        raise IncoherentError("the transfer is damaged: the checksum of a frame is wrong")
    return head, kind, payload


def _read_exactly(source: BinaryIO, length: int) -> bytes:
    data = source.read(length)
    if data is None or len(data) < length:
        raise HostError("the far end closed the transfer before its end")
    return data


def _far_error(payload: bytes) -> RocksError:
    family, _, words = payload.decode("utf-8", "replace").partition(" ")
    return CLASSES.get(family, IncoherentError)(words or "the far end ended the transfer without a reason")
