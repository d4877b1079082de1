"""The format of a disk image by its first bytes, and its data as a stream of blocks; also on hosts."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from rocks.core.errors import HostError, IncoherentError

QCOW2 = b"QFI\xfb"

OTHER_FORMATS = (
    (0, b"KDMV", "a VMware disk", "vmdk"),
    (0, b"# Disk DescriptorFile", "the description of a VMware disk", "vmdk"),
    (0, b"QED\0", "a QED image", "qed"),
    (0, b"vhdxfile", "a Hyper-V disk (VHDX)", "vhdx"),
    (0, b"conectix", "a Hyper-V disk (VHD)", "vpc"),
    (0x40, b"\x7f\x10\xda\xbe", "a VirtualBox disk (VDI)", "vdi"),
    (0, b"LUKS\xba\xbe", "an encrypted disk (LUKS)", ""),
)
"""Offset, signature, text, and QEMU's name of the format; none for what a raw disk may begin with."""


def disk_format(start: bytes) -> str:
    """QEMU's name of the format of a disk that begins so; empty for raw, and for what is no disk."""
    formats = ((0, QCOW2, "qcow2"), *((offset, magic, name) for offset, magic, _, name in OTHER_FORMATS))
    return next((name for offset, magic, name in formats if start[offset:].startswith(magic)), "")


# The data of a disk image: its blocks that are not zero, their digest, and the stream that carries them to a host.
#
# The digest is SHA-256 of that stream, so it depends on the content alone: a hole and written zeros are the same. The
# receiver computes it from what it reads.


BLOCK_BYTES = 64 * 1024
"""Blocks begin at multiples of this size; the last one may be shorter."""

_ZEROS = bytes(BLOCK_BYTES)
_TITLE = b"rocks disk image 1\n"
_SIZE = struct.Struct(">Q")
_BLOCK = struct.Struct(">QI")
_END = (2**64 - 1, 0)


class Content(NamedTuple):
    """What an image holds: its size, the bytes of its blocks that are not zero, and the digest in hexadecimal."""

    size_bytes: int
    used_bytes: int
    digest: str


def data_blocks(descriptor: int, begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, block) of each block that is not zero, in their order; holes are not read. OSError.

    `begin` is where the first block begins, or the end of the file.
    """
    size = os.fstat(descriptor).st_size
    offset = begin - begin % BLOCK_BYTES if begin < size else size
    while offset < size:
        start = _next_data(descriptor, offset)
        if start is None:
            return
        offset = max(offset, start - start % BLOCK_BYTES)
        block = _read(descriptor, offset, min(BLOCK_BYTES, size - offset))
        if block != _ZEROS[: len(block)]:
            yield offset, block
        offset += len(block)


def send_content(descriptor: int, send: Callable[[bytes], None]) -> Content:
    """Write the stream of an open image with `send`, and return what it was. OSError."""
    return send_blocks(os.fstat(descriptor).st_size, data_blocks(descriptor), send)


def send_blocks(
    size: int, blocks: Iterable[tuple[int, bytes]], send: Callable[[bytes], None] = lambda data: None
) -> Content:
    """As `send_content`, for the blocks of an image of that size which are not zero."""
    used_bytes = 0
    digest = hashlib.sha256()

    def put(data: bytes) -> None:
        digest.update(data)
        send(data)

    put(_TITLE + _SIZE.pack(size))
    for offset, block in blocks:
        put(_BLOCK.pack(offset, len(block)))
        put(block)
        used_bytes += len(block)
    put(_BLOCK.pack(*_END))
    return Content(size, used_bytes, digest.hexdigest())


def blocks_read(read: Callable[[int], bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """As `data_blocks`, of what `read(n)` returns from its beginning: a device has neither a size of its own nor holes.

    IncoherentError when it ends before the size.
    """
    offset = 0
    while offset < size:
        length = min(BLOCK_BYTES, size - offset)
        block = b""
        while len(block) < length:
            more = read(length - len(block))
            if not more:
                raise IncoherentError("the volume ends before its size")
            block += more
        if block != _ZEROS[:length]:
            yield offset, block
        offset += length


def content_of(descriptor: int, watch: Callable[[int], None] = lambda done: None) -> Content:
    """The content of an open image; `watch` gets the number of bytes that were read. OSError."""
    done = 0

    def count(data: bytes) -> None:
        nonlocal done
        done += len(data)
        watch(done)

    return send_content(descriptor, count)


def receive_content(read: Callable[[int], bytes], descriptor: int, max_bytes: int) -> Content:
    """Write the image of a stream into an empty file. `read(n)` returns n bytes, and fewer only at the end.

    IncoherentError for a stream that ends early, states more than `max_bytes`, has blocks of zeros, or is none.
    OSError.
    """
    digest = hashlib.sha256()

    def take(count: int) -> bytes:
        data = read(count)
        if len(data) != count:
            raise IncoherentError("the stream of the image ended early; repeat the command")
        digest.update(data)
        return data

    if take(len(_TITLE)) != _TITLE:
        raise IncoherentError("what was sent is not the stream of an image")
    (size,) = _SIZE.unpack(take(_SIZE.size))
    if size > max_bytes:
        raise IncoherentError(f"the stream is of an image of {size} bytes, not of {max_bytes}")
    os.ftruncate(descriptor, size)
    next_offset, used_bytes = 0, 0
    while True:
        offset, length = _BLOCK.unpack(take(_BLOCK.size))
        if (offset, length) == _END:
            return Content(size, used_bytes, digest.hexdigest())
        if offset % BLOCK_BYTES or offset < next_offset or length != min(BLOCK_BYTES, size - offset):
            raise IncoherentError("the stream of the image has a block in a wrong place")
        block = take(length)
        if block == _ZEROS[:length]:  # the digest would not be that of the content
            raise IncoherentError("the stream of the image has a block of zeros, which no sender has")
        write_block(descriptor, offset, block)
        next_offset, used_bytes = offset + length, used_bytes + length


def copy_content(source: int, target: int) -> None:
    """Make the empty file `target` a copy of an open image: it shares the blocks where the file system can. OSError."""
    if not _share_blocks(source, target):
        os.ftruncate(target, os.fstat(source).st_size)
        for offset, block in data_blocks(source):
            write_block(target, offset, block)


def _share_blocks(source: int, target: int) -> bool:
    import fcntl

    clone = 0x40049409  # FICLONE of linux/fs.h: XFS and btrfs
    try:
        fcntl.ioctl(target, clone, source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return False
    return True


def _next_data(descriptor: int, offset: int) -> int | None:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole is left
            return None
        if error.errno == errno.EINVAL:  # the file system does not know holes
            return offset
        raise


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            raise HostError("the image became shorter while it was read; repeat the command")
        data += more
    return data


def write_block(descriptor: int, offset: int, block: bytes) -> None:
    """Write all of the block at the offset; pwrite(2) may take a part of it. OSError."""
    left = memoryview(block)
    while left:
        written = os.pwrite(descriptor, left, offset)
        offset, left = offset + written, left[written:]
