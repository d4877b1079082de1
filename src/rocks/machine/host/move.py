"""A disk of a stopped machine on its way from one host to another: both ends, as programs of the agent.

The stream has the blocks that are not zero. Of those that the other end has from an earlier attempt, it has the
digests alone. At its end is the digest of the whole disk, with which the receiver compares what it reads back. Until
then the disk has a name that no machine has (`moving_path`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Optional, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, HostError, IncoherentError, StateError
from rocks.core.files import SECRET, explain
from rocks.core.image_blocks import BLOCK_BYTES, data_blocks, write_block
from rocks.fleet.wire.live_moves import CHECKED, DIFFERS, HAVE, STORED, moving_path
from rocks.machine.host.disks import give_file
from rocks.machine.host.files import check_mounted, check_path, key_of, open_file, opened_image_folder
from rocks.machine.host.host import Host
from rocks.machine.host.images import check_unused, disk_at_rest

_TITLE = b"rocks disk move 1\n"
_SIZES = struct.Struct(">QQ")
_RECORD = struct.Struct(">QIB")
_END, _DATA, _SAME = 0, 1, 2
_DIGEST_BYTES = 32
_REPORT_BYTES = 256 * 1024**2
_LOCK_SECONDS = 20.0

Read = Callable[[int], bytes]
"""`read(n)` returns n bytes, and fewer only at the end of the stream."""


class Incoming(NamedTuple):
    """A disk that is received: its file, the image directory above it, its machine's UUID, and the size in bytes.

    `replaces`: a file of the machine at that path is an older copy, and the new one is made of it.
    """

    path: str
    directory: str
    machine: str
    size_bytes: int
    replaces: bool


def send_disk(
    host: Host, path: str, directory: str, machine: str, have: int, send: Callable[[bytes], None]
) -> None:
    """Write the stream of a disk with `send`; the receiver has its blocks below `have`.

    Errors as of `disk_at_rest`; then the stream has no end.
    """
    with disk_at_rest(host, path, directory, machine) as (descriptor, size):
        digest = _send_blocks(descriptor, size, have, send)
    send(_RECORD.pack(0, 0, _END) + digest)


def receive_disk(host: Host, disk: Incoming, read: Read, report: Callable[[str], None]) -> None:
    """Store the stream as the disk of the machine. A part that an earlier attempt left is continued.

    `report` gets lines: what is there, how much was read back, at the end the digest. IncoherentError for a stream
    that ends early, or is not one of this disk; StateError for a path where the disk may not be, and for a file there
    that is not an older copy; BusyError while another one receives it; HostError when it cannot be written.
    """
    name = Path(check_path(disk.path)).name
    try:
        check_mounted(disk.path)
        opened = opened_image_folder(disk.path, disk.directory, make=True)
        with opened as folder, _unfinished(host, disk, folder, name) as descriptor:
            with _freed_when_full(descriptor):
                digest = _take(descriptor, disk, read, report)
            _place(host, disk, folder, name, descriptor)
    except FileExistsError:
        raise StateError(f"there is a file {disk.path} on this host now; repeat the command") from None
    except OSError as error:
        path = Path(disk.path)
        raise HostError(f"the disk cannot be stored as {path}: {explain(error, path)}") from None
    report(f"{STORED} {digest}")


def _send_blocks(descriptor: int, size: int, have: int, send: Callable[[bytes], None]) -> bytes:
    digest = hashlib.sha256(_SIZES.pack(size, 0))
    have = min(have, size - size % BLOCK_BYTES)
    send(_TITLE + _SIZES.pack(size, have))
    for offset, block in data_blocks(descriptor):
        _add(digest, offset, block)
        if offset < have:
            send(_RECORD.pack(offset, len(block), _SAME) + hashlib.sha256(block).digest())
        else:
            send(_RECORD.pack(offset, len(block), _DATA))
            send(block)
    return digest.digest()


@contextmanager
def _freed_when_full(descriptor: int) -> Iterator[None]:
    """Free what was written when the file system is full: guests beside it need space, too."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            os.ftruncate(descriptor, 0)
        raise


def _take(descriptor: int, disk: Incoming, read: Read, report: Callable[[str], None]) -> str:
    """Write the stream into the open file, which has a part of the disk; returns the digest. OSError."""
    size = os.fstat(descriptor).st_size
    report(f"{HAVE} {size - size % BLOCK_BYTES}")
    take = _taker(read)
    if take(len(_TITLE)) != _TITLE:
        raise IncoherentError("what was sent is not a disk that moves")
    size, have = _SIZES.unpack(take(_SIZES.size))
    if size != disk.size_bytes or have % BLOCK_BYTES or have > os.fstat(descriptor).st_size:
        raise IncoherentError(f"what was sent is a disk of {size} bytes, not of {disk.size_bytes}")
    os.ftruncate(descriptor, have)
    try:
        _write_blocks(descriptor, size, have, take)
    except _DifferentError as different:
        os.ftruncate(descriptor, different.offset)
        report(f"{DIFFERS} {different.offset}")
        raise IncoherentError(
            "the disk has changed since a part of it was sent; repeat the command"
        ) from None
    sent = take(_DIGEST_BYTES)
    if read(1):
        raise IncoherentError("what was sent goes on behind the end of the disk")
    found = _read_back(descriptor, report)
    if found != sent:
        os.ftruncate(descriptor, 0)
        raise IncoherentError("what this host has stored is not what was sent; repeat the command")
    return found.hex()


class _DifferentError(Exception):
    """What an earlier attempt left is another disk from this offset on."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def _write_blocks(descriptor: int, size: int, have: int, take: Callable[[int], bytes]) -> None:
    """Compare the blocks below `have`, write the others, and give the file its size."""
    present = _blocks_below(descriptor, have)
    next_offset, is_compared = 0, False
    while True:
        offset, length, kind = _RECORD.unpack(take(_RECORD.size))
        if kind != _SAME and not is_compared:
            _compare(next(present, None), None)
            is_compared = True
        if (offset, length, kind) == (0, 0, _END):
            os.ftruncate(descriptor, size)
            return
        is_placed = next_offset <= offset < size and offset % BLOCK_BYTES == 0
        if kind not in (_DATA, _SAME) or not is_placed or length != min(BLOCK_BYTES, size - offset):
            raise IncoherentError("what was sent has a block in a wrong place")
        if (kind == _SAME) != (offset < have):
            raise IncoherentError("what was sent has a block of a wrong kind")
        if kind == _SAME:
            _compare(next(present, None), (offset, take(_DIGEST_BYTES)))
        else:
            write_block(descriptor, offset, take(length))
        next_offset = offset + length


def _compare(mine: Optional[Tuple[int, bytes]], sent: Optional[Tuple[int, bytes]]) -> None:
    """_DifferentError unless both are the same block: (offset, digest), None at the end."""
    if mine != sent:
        raise _DifferentError(min(block[0] for block in (mine, sent) if block is not None))


def _blocks_below(descriptor: int, end: int) -> Iterator[Tuple[int, bytes]]:
    for offset, block in data_blocks(descriptor):
        if offset >= end:
            return
        yield offset, hashlib.sha256(block).digest()


def _read_back(descriptor: int, report: Callable[[str], None]) -> bytes:
    """The digest of what is on the disk of this host."""
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # read again from the disk, not from memory
    digest, done, reported = hashlib.sha256(_SIZES.pack(os.fstat(descriptor).st_size, 0)), 0, 0
    for offset, block in data_blocks(descriptor):
        _add(digest, offset, block)
        done += len(block)
        if done >= reported + _REPORT_BYTES:
            reported = done
            report(f"{CHECKED} {done}")
    return digest.digest()


def _add(digest: "hashlib._Hash", offset: int, block: bytes) -> None:
    digest.update(_RECORD.pack(offset, len(block), _DATA))
    digest.update(block)


def _taker(read: Read) -> Callable[[int], bytes]:
    def take(count: int) -> bytes:
        data = read(count)
        if len(data) != count:
            raise IncoherentError("the disk ended early; repeat the command")
        return data

    return take


@contextmanager
def _unfinished(host: Host, disk: Incoming, folder: int, name: str) -> Iterator[int]:
    """The open, locked file under the name of a disk that moves, which bears the UUID of the machine."""
    unfinished = moving_path(disk.path)
    _take_back(host, disk, folder, name)
    try:
        made = os.open(
            moving_path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET, dir_fd=folder
        )
    except FileExistsError:
        pass
    else:
        give_file(made, unfinished, disk.machine, host.image_owners)
        os.close(made)
    check = open_file(folder, moving_path(name), unfinished)
    if check is None:
        raise StateError(f"{unfinished} was removed meanwhile; repeat the command")
    descriptor = os.open(f"/proc/self/fd/{check}", os.O_RDWR | os.O_CLOEXEC)
    os.close(check)
    try:
        _check_mine(host, disk, descriptor, unfinished)
        _lock(descriptor, disk.path)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    """One process at a time writes it; that of a command that was killed ends within moments. BusyError."""
    deadline = Deadline(_LOCK_SECONDS)
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if deadline.passed():
                raise BusyError(
                    f"another command is receiving {path} on this host; try again later"
                ) from None
            wait_seconds(0.2)


def _take_back(host: Host, disk: Incoming, folder: int, name: str) -> None:
    """Have an older copy go under its other name again. StateError for a file that is none."""
    unfinished = moving_path(name)
    placed, other = _status(folder, name), _status(folder, unfinished)
    if placed is None:
        return
    if other is not None and key_of(placed) == key_of(other):  # killed between link(2) and unlink(2)
        os.unlink(name, dir_fd=folder)
        return
    descriptor = open_file(folder, name, disk.path)
    if descriptor is None:
        return
    try:
        owner = host.image_owners.of_file(descriptor, disk.path)
        if not disk.replaces or owner != disk.machine:
            raise StateError(
                f"there is a file {disk.path} on this host, and it is no copy that a move made; remove it, if it is "
                "not needed: rocks list host image and rocks remove host image"
            )
        check_unused(host, disk.path, key_of(os.fstat(descriptor)))
        host.image_owners.set_file(descriptor, moving_path(disk.path), disk.machine)
    finally:
        os.close(descriptor)
    os.rename(name, unfinished, src_dir_fd=folder, dst_dir_fd=folder)


def _status(folder: int, name: str) -> Optional[os.stat_result]:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check_mine(host: Host, disk: Incoming, descriptor: int, path: str) -> None:
    owner = host.image_owners.of_file(descriptor, path)
    if owner is None and os.fstat(descriptor).st_size == 0:  # killed before it was marked
        give_file(descriptor, path, disk.machine, host.image_owners)
    elif owner != disk.machine:
        raise StateError(
            f"{path} belongs to {owner or 'nobody'}, not to {disk.machine}; remove it on the host"
        )


def _place(host: Host, disk: Incoming, folder: int, name: str, descriptor: int) -> None:
    """Give the file its name; one that exists is not replaced."""
    give_file(descriptor, disk.path, disk.machine, host.image_owners)
    os.fsync(descriptor)
    os.link(moving_path(name), name, src_dir_fd=folder, dst_dir_fd=folder)
    os.unlink(moving_path(name), dir_fd=folder)
    os.fsync(folder)
    host.image_owners.forget("file", moving_path(disk.path))
