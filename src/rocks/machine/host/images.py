"""Images of a host: listed, given to a machine, removed. Nothing that is in use is changed."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.files import remove_drafts
from rocks.core.image_blocks import send_content
from rocks.core.terminal import one_line
from rocks.core.values import gigabytes
from rocks.fleet.wire.requests import (
    UNREADABLE,
    Erase,
    GiveImageRequest,
    ImageChange,
    ImageFact,
    ImageFacts,
    ImagesRequest,
    RemoveImageRequest,
)
from rocks.fleet.wire.snapshot_names import read_copy
from rocks.machine.host.disks import device_bytes, give_file
from rocks.machine.host.files import (
    BlockDevice,
    ImageKey,
    check_closed,
    check_device,
    check_identity,
    check_path,
    is_uuid,
    key_of,
    open_file,
    opened_folder,
    users_of_images,
)
from rocks.machine.host.host import Host
from rocks.machine.host.snapshots import check_not_restoring, moment_of

# Removes images of guests that nothing uses, and erases block devices.

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


MAX_IMAGES = 20_000
_BLOCK_BYTES = 512
_UNFINISHED = ".unfinished-"


def read_images(host: Host, request: ImagesRequest) -> ImageFacts:
    """The files below the image directories, and the block devices that belong to machines.

    A name that is no text, or has characters that are not printable, is reported with escapes: such a file can only be
    removed on the host.
    """
    users = users_of_images(host.domains())
    problems: List[str] = []
    found: Dict[str, ImageFact] = {}
    for directory in request.directories:
        for fact in _files(host, check_path(directory or "/"), users, problems):
            found[fact.path] = replace(fact, path=_readable(fact.path))
            if len(found) > MAX_IMAGES:
                raise HostError(f"{directory} has more than {MAX_IMAGES} files; is it an image directory?")
    for record in host.image_owners.devices():
        found[record["path"]] = _device(record, users)
    return ImageFacts(tuple(found[path] for path in sorted(found)), tuple(problems))


def give_image(host: Host, request: GiveImageRequest) -> ImageChange:
    """Make the image the machine's. StateError when it is in use, or belongs to another than `owner`."""
    if not is_uuid(request.machine):
        raise UserError(f"{request.machine[:80]!r} is not the UUID of a machine")
    if request.is_block:
        device = _unused_device(host, request.path, request.owner)
        check_identity(device, request.path)
        host.image_owners.set_device(device.identity, request.path, request.machine)
        return ImageChange(True)
    with unused_file(host, request.path, request.directory, request.owner) as (_, descriptor):
        give_file(descriptor, request.path, request.machine, host.image_owners)
        return ImageChange(True)


def remove_image(host: Host, request: RemoveImageRequest) -> ImageChange:
    """Remove the file, or erase the device. StateError when it is in use, or belongs to another than `owner`.

    A file that does not exist is no change.
    """
    if request.is_block:
        device = _unused_device(host, request.path, request.owner)
        erase_device(os.path.realpath(request.path), device.number, device.size_bytes, request.erase)
        host.image_owners.forget("device", device.identity)
        return ImageChange(True)
    try:
        with unused_file(host, request.path, request.directory, request.owner) as (folder, _):
            remove_file(folder, Path(request.path).name, request.path, request.erase)
            host.image_owners.forget("file", request.path)
            remove_drafts(Path(request.path))  # of copies whose agent was killed
            return ImageChange(True)
    except FileNotFoundError:
        return ImageChange(False)


@contextmanager
def unused_file(host: Host, path: str, directory: str, owner: str) -> "Iterator[tuple[int, int]]":
    """(folder, file) as descriptors.

    FileNotFoundError when there is no such file, StateError when it is in use or belongs to another than `owner`.
    """
    above, _, name = check_path(path).rpartition("/")
    if not f"{above}/".startswith(f"{directory.rstrip('/')}/"):
        raise StateError(f"{path} is not below the image directory {directory}")
    with opened_folder(directory or "/", above[len(directory.rstrip("/")) :]) as folder:
        os.stat(name, dir_fd=folder, follow_symlinks=False)  # what is not there needs no safe folder
        check_closed(folder, above or "/")
        descriptor = open_file(folder, name, path)
        if descriptor is None:
            raise FileNotFoundError(path)
        try:
            _check(path, host.image_owners.of_file(descriptor, path), owner)
            check_unused(host, path, key_of(os.fstat(descriptor)))
            yield folder, descriptor
        finally:
            os.close(descriptor)


def _unused_device(host: Host, path: str, owner: str) -> BlockDevice:
    device = check_device(path)
    _check(path, host.image_owners.of_device(device.identity), owner)
    check_unused(host, path, (device.number, -1))
    return device


def _check(path: str, found: Optional[str], owner: str) -> None:
    if (found or "") != owner:
        raise StateError(
            f"{path} belongs to {found or 'nobody'} now, not to {owner or 'nobody'}; see rocks list host image"
        )


def check_unused(host: Host, path: str, key: ImageKey) -> None:
    """StateError when a machine or a program uses the file or device."""
    user = users_of_images(host.domains()).get(key)
    if user is not None:
        raise StateError(f"{path} is in use by {user}; stop or undefine that first")


def _files(
    host: Host, directory: str, users: "Dict[ImageKey, str]", problems: "List[str]"
) -> Iterator[ImageFact]:
    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{_readable(str(error.filename))}: {error.strerror}")

    for folder, _, names in os.walk(directory, onerror=failed):
        for name in names:
            fact = None if _UNFINISHED in name else _file(host, Path(folder) / name, users)
            if fact is not None:
                yield fact


def _readable(path: str) -> str:
    """The path as the wire transports it: with escapes where it is no text or not printable."""
    return path if path.isprintable() else one_line(path.replace("\\", "\\\\"))


def _file(host: Host, path: Path, users: "Dict[ImageKey, str]") -> Optional[ImageFact]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # a link, or gone
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        moment = moment_of(descriptor) if read_copy(str(path)) is not None else ""
        owner = host.image_owners.of_file(descriptor, str(path)) or ""
    except RocksError:
        owner = UNREADABLE
    finally:
        os.close(descriptor)
    used_bytes = status.st_blocks * _BLOCK_BYTES
    user = users.get(key_of(status), "")
    return ImageFact(str(path), owner, status.st_size, used_bytes, False, user, moment)


def _device(record: "Dict[str, str]", users: "Dict[ImageKey, str]") -> ImageFact:
    path = record.get("path", "")
    try:
        user = users.get(key_of(Path(path).stat()), "")
    except OSError:
        user = ""
    size_bytes = device_bytes(path)
    return ImageFact(path, record["machine"], size_bytes, size_bytes, True, user)


def send_disk(
    host: Host, path: str, directory: str, machine: str, max_bytes: int, send: Callable[[bytes], None]
) -> None:
    """Write the stream of `rocks.core.image_blocks` of a raw disk with `send`.

    StateError for a disk that is larger than `max_bytes`, otherwise as of `disk_at_rest`; then what was sent is not
    the disk.
    """
    with disk_at_rest(host, path, directory, machine) as (descriptor, size_bytes):
        if size_bytes > max_bytes:
            raise StateError(
                f"{path} is a disk of {gigabytes(size_bytes)}, and {gigabytes(max_bytes)} is the most that is "
                "copied; if it is meant to be that large, give size=GB"
            )
        send_content(descriptor, send)


@contextmanager
def disk_at_rest(host: Host, path: str, directory: str, machine: str) -> "Iterator[tuple[int, int]]":
    """A disk of a stopped machine, to be read and sent: its descriptor, and its size in bytes.

    StateError for a disk that is in use, before or afterwards, changes meanwhile, or belongs to another than the
    machine, and for one of a machine whose restore was interrupted: its disks are of different moments. HostError when
    it cannot be read, or not be sent.
    """
    check_not_restoring(host, machine)
    try:
        with unused_file(host, path, directory, machine) as (_, descriptor):
            before = os.fstat(descriptor)
            yield descriptor, before.st_size
            after = os.fstat(descriptor)
            check_unused(host, path, key_of(after))
    except FileNotFoundError:
        raise StateError(f"there is no file {path} on this host; was the machine ever started?") from None
    except BrokenPipeError:
        raise HostError("nobody takes the disk any more") from None
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from None
    if _version_of(before) != _version_of(after):
        raise StateError(f"{path} was changed while it was read; repeat the command while the machine is off")


def _version_of(status: os.stat_result) -> "tuple[int, int, int]":
    """Another one after each write to the file."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
