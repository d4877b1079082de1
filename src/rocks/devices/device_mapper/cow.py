"""The first chunk of a snapshot's COW device, and how its flag `valid` is set again.

Layout: struct disk_header in drivers/md/dm-snap-persistent.c: magic `SnAp`, valid, version 1, chunk size in sectors;
all are little-endian numbers of 32 bits. The kernel clears `valid` when it gives a snapshot up; the exceptions stay,
and with the flag set again all of them were intact after a failed read of the origin and after a full COW.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import NamedTuple, Optional

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.errors import IncoherentError, StateError

_HEADER = struct.Struct("<4sIII")
_MAGIC = b"SnAp"
_VALID_AT = 4


class CowHeader(NamedTuple):
    """What a COW says of itself."""

    is_valid: bool
    version: int
    chunk_sectors: int


def parse_header(data: bytes) -> Optional[CowHeader]:
    """The header in the first 16 bytes; None when they are no snapshot's."""
    magic, valid, version, chunk = _HEADER.unpack_from(data)
    return CowHeader(valid == 1, version, chunk) if magic == _MAGIC else None


def ensure_valid(device: str) -> Change:
    """Have a COW that the kernel takes.

    StateError while something uses the device; IncoherentError when it is no COW, or of another version.
    """
    try:
        # of a block device, O_EXCL without O_CREAT is refused while a mapping holds it (blkdev_get_by_dev)
        file = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_SYNC)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise StateError(
            f"{device} is in use, so it cannot be made valid: its snapshot must be shut first"
        ) from None
    try:
        header = parse_header(os.pread(file, _HEADER.size, 0))
        if header is None or header.version != 1:
            raise IncoherentError(f"{device} holds no snapshot's changes (no header `SnAp`, version 1)")
        if header.is_valid:
            return UNCHANGED
        os.pwrite(file, struct.pack("<I", 1), _VALID_AT)
        os.fsync(file)
        return CHANGED
    finally:
        os.close(file)
