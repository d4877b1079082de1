"""The header of a snapshot's COW device, and how its flag `valid` is set again.

Layout: struct disk_header in drivers/md/dm-snap-persistent.c: magic `SnAp`, valid, version 1, chunk size in sectors;
all are little-endian numbers of 32 bits. The kernel clears `valid` when it invalidates a snapshot; the exceptions stay.
After the flag was set again they were intact, both after a failed read of the origin and after a full COW.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import NamedTuple, Optional

from rocks.core.errors import IncoherentError, StateError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change

_HEADER = struct.Struct("<4sIII")
_MAGIC = b"SnAp"
_VALID_AT = 4


class CowHeader(NamedTuple):
    """The header of a COW device."""

    is_valid: bool
    version: int
    chunk_sectors: int


def parse_header(data: bytes) -> Optional[CowHeader]:
    """The header in the first 16 bytes; None without the magic."""
    magic, valid, version, chunk = _HEADER.unpack_from(data)
    return CowHeader(valid == 1, version, chunk) if magic == _MAGIC else None


def ensure_valid(device: str) -> Change:
    """Set the flag `valid`.

    StateError while the device is in use; IncoherentError when it is not a COW device of version 1.
    """
    try:
        # O_EXCL on a block device fails while a device-mapper table uses it (blkdev_get_by_dev)
        file = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_SYNC)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise StateError(
            f"{device} is in use, so it cannot be made valid; load the error target for its snapshot first"
        ) from None
    try:
        header = parse_header(os.pread(file, _HEADER.size, 0))
        if header is None or header.version != 1:
            raise IncoherentError(f"{device} is not a COW device (no header `SnAp`, version 1)")
        if header.is_valid:
            return UNCHANGED
        os.pwrite(file, struct.pack("<I", 1), _VALID_AT)
        os.fsync(file)
        return CHANGED
    finally:
        os.close(file)
