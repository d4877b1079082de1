"""Removes images of guests that nothing uses, and erases block devices."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Iterator, Tuple

from rocks.core.errors import HostError
from rocks.fleet.wire.disk_files import Erase

_BLKZEROOUT = 0x127F  # linux/fs.h: the device frees the blocks where it can promise zeros afterwards
_PIECE_BYTES = 4 * 1024**2


def remove_file(folder: int, name: str, path: str, erase: Erase) -> None:
    """Remove the file of this name; with `overwrite`, its blocks are zeros on the disk before. HostError."""
    try:
        if erase == "overwrite":
            _overwrite_file(folder, name)
        os.unlink(name, dir_fd=folder)
        os.fsync(folder)
    except OSError as error:
        raise HostError(f"cannot remove the image {path}: {error.strerror}") from None


def erase_device(path: str, number: int, size_bytes: int, erase: Erase) -> None:
    """Make the content of the block device zeros. HostError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_rdev != number:
                raise HostError(f"the block device {path} was replaced; nothing was erased")
            if erase == "overwrite":
                _write_zeros(descriptor, 0, size_bytes)
            else:
                fcntl.ioctl(descriptor, _BLKZEROOUT, struct.pack("=QQ", 0, size_bytes))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HostError(f"cannot erase the block device {path}: {error.strerror}") from None


def _overwrite_file(folder: int, name: str) -> None:
    descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        for start, end in _extents(descriptor):
            _write_zeros(descriptor, start, end - start)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _extents(descriptor: int) -> Iterator[Tuple[int, int]]:
    """The parts of a sparse file that have blocks."""
    end, size = 0, os.fstat(descriptor).st_size
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            return  # ENXIO: there is no data behind
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def _write_zeros(descriptor: int, start: int, length: int) -> None:
    zeros, offset, left = bytes(_PIECE_BYTES), start, length
    while left > 0:
        written = os.pwrite(descriptor, zeros[: min(left, _PIECE_BYTES)], offset)
        offset, left = offset + written, left - written
