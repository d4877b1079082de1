"""Space of a file that holds no data: QEMU's copies have it allocated, and it reads as zeros."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct

_FS_IOC_UNRESVSP64 = 0x4030582B  # linux/falloc.h: the file system frees the blocks of a part of the file
_RESERVATION = "=hhxxxxqqiI16x"


def free_holes(descriptor: int) -> None:
    """Free the parts of the file that hold no data, where the file system can. Its size and content stay."""
    end = os.fstat(descriptor).st_size
    offset = 0
    with contextlib.suppress(OSError):  # ENXIO: there is no data behind; others: the space stays taken
        while offset < end:
            hole = os.lseek(descriptor, offset, os.SEEK_HOLE)
            try:
                offset = os.lseek(descriptor, hole, os.SEEK_DATA)
            except OSError:
                offset = end
            if offset > hole:
                part = struct.pack(_RESERVATION, 0, os.SEEK_SET, hole, offset - hole, 0, 0)
                fcntl.ioctl(descriptor, _FS_IOC_UNRESVSP64, part)
