"""Streams between pools in memory: a first record as ZFS has it, a header, blocks, an end record with a checksum.

A stream can be cut at any byte. The complete records before are kept, as by `zfs receive -s`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from rocks.core.errors import StateError
from rocks.storage.zfs.begin_record import BEGIN, BEGIN_BYTES, FIELDS, MAGIC, ONE_SNAPSHOT, VOLUME
from rocks.storage.zfs.facts import TokenFact
from rocks.storage.zfs.fake.contents import Partial

_MAGIC = b"FAKESEND"
_LENGTH = struct.Struct(">I")
_RECORD = struct.Struct(">QI")
_END = 2**64 - 1


class Header(NamedTuple):
    """Source and target of a stream, size and block size of the volume, and the first record."""

    to_guid: str
    to_name: str
    from_guid: Optional[str]
    size_bytes: int
    block_bytes: int
    first_record: int


Record = Tuple[int, Optional[bytes]]


def encode_stream(header: Header, records: List[Record]) -> bytes:
    """A stream of these records, without those before `first_record`."""
    fields = json.dumps(header).encode()
    begin = encode_begin(header.to_guid, header.from_guid, header.to_name)
    parts = [begin, _MAGIC, _LENGTH.pack(len(fields)), fields]
    for number, data in records[header.first_record :]:
        parts += [_RECORD.pack(number, len(data or b"")), data or b""]
    digest = hashlib.blake2b(b"".join(parts), digest_size=16).digest()
    return b"".join([*parts, _RECORD.pack(_END, len(digest)), digest])


def encode_begin(
    to_guid: str,
    from_guid: Optional[str],
    to_name: str,
    kind: int = ONE_SNAPSHOT,
    object_set: int = VOLUME,
    order: str = "<",
) -> bytes:
    """The first record of a stream; `order` is the byte order, as for `struct`."""
    return struct.pack(
        f"{order}{FIELDS}",
        BEGIN,
        0,
        MAGIC,
        kind,
        0,
        object_set,
        0,
        int(to_guid),
        int(from_guid or 0),
        to_name.encode(),
    )


class Decoder:
    """Decodes a stream in pieces: its header, complete records, and whether it is complete."""

    def __init__(self) -> None:
        self.header: Optional[Header] = None
        self.is_complete = False
        self._pending = b""
        self._digest = hashlib.blake2b(digest_size=16)

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that `data` completes. ValueError when it is not a stream or is damaged."""
        self._pending += data
        if self.header is None and not self._take_header():
            return
        while len(self._pending) >= _RECORD.size:
            number, length = _RECORD.unpack_from(self._pending)
            end = _RECORD.size + length
            if len(self._pending) < end:
                return
            body = self._pending[_RECORD.size : end]
            if number == _END:
                if body != self._digest.digest():
                    raise ValueError("checksum mismatch")
                self.is_complete = True
                return
            self._take(end)
            yield number, body or None

    def _take_header(self) -> bool:
        start = BEGIN_BYTES + len(_MAGIC) + _LENGTH.size
        if len(self._pending) < start:
            return False
        if not self._pending.startswith(_MAGIC, BEGIN_BYTES):
            raise ValueError("invalid stream (bad magic number)")
        end = start + int(_LENGTH.unpack_from(self._pending, start - _LENGTH.size)[0])
        if len(self._pending) < end:
            return False
        self.header = Header(*json.loads(self._pending[start:end]))
        self._take(end)
        return True

    def _take(self, length: int) -> None:
        self._digest.update(self._pending[:length])
        self._pending = self._pending[length:]


def encode_token(partial: Partial) -> str:
    """The resume token of a partial receive."""
    fields: Dict[str, object] = {
        "to_guid": partial.to_guid,
        "from_guid": partial.from_guid,
        "to_name": partial.to_name,
        "bytes": partial.bytes_done,
        "records": partial.records_done,
    }
    return "1-" + json.dumps(fields).encode().hex()


def decode_token(token: str) -> Tuple[TokenFact, int]:
    """Contents of a token, and the first record to send. StateError when it is invalid."""
    try:
        fields = json.loads(bytes.fromhex(token[2:]))
        fact = TokenFact(fields["to_guid"], fields["from_guid"], fields["to_name"], fields["bytes"])
        return fact, int(fields["records"])
    except (ValueError, KeyError, TypeError):
        raise StateError(
            "the resume token is invalid: resume token is corrupt; discard the partial receive and send again"
        ) from None
