"""Disks of guests: what a path holds, and images made where there is none. Nothing here ever removes an image.

An image gets its name in one step, when it is whole, and never in the place of another. libvirt then gives it to the
user that its guests run as (dynamic ownership), who must be able to pass through the folders: those made here are 0711.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Iterator

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.folders import ensure_folders, sync_folder
from rocks.errors import HostError, StateError, UserError
from rocks.process import run_checked
from rocks.units import BYTES_PER_GB
from rocks.wire.agent import DiskSpec
from rocks.wire.facts import DiskFact

_FOLDER_MODE = 0o711
_QEMU_IMG_DEADLINE_SECONDS = 30.0


def read_disk(path: str) -> DiskFact:
    """What is at the path now. UserError for a path that is not absolute or steps upwards."""
    check_path(path)
    try:
        status = Path(path).stat()
    except OSError:
        status = None
    is_block = status is not None and stat.S_ISBLK(status.st_mode)
    filesystem_bytes, free_bytes = (0, 0) if is_block else _room(Path(path))
    return DiskFact(
        path=path,
        exists=status is not None,
        is_block=is_block,
        size_bytes=_device_bytes(path) if is_block else 0 if status is None else status.st_size,
        filesystem_bytes=filesystem_bytes,
        free_bytes=free_bytes,
    )


def ensure_disk(wanted: DiskSpec) -> Change:
    """Have a disk at the path: an existing one is left as it is, an image is made sparse where there is none.

    StateError when something else is in the way, or a block device is missing; HostError when it cannot be made.
    """
    path = Path(check_path(wanted.path))
    try:
        if _is_there(path, wanted.is_block):
            return UNCHANGED
        if wanted.is_block:
            raise StateError(f"there is no block device {path} on this host")
        ensure_folders(path.parent, _FOLDER_MODE)
        _make_image(path, wanted)
    except OSError as error:
        raise HostError(f"cannot make the image {path}: {error.strerror}") from None
    return CHANGED


def check_path(path: str) -> str:
    """The path itself. UserError unless it is absolute and says plainly where it leads."""
    if not path.startswith("/") or "\0" in path or path != os.path.normpath(path):
        raise UserError(f"{path[:200]!r} is no plain absolute path of a disk")
    return path


def _is_there(path: Path, is_block: bool) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise StateError(f"{path} is a link that leads nowhere; remove it or make its target") from None
        return False
    kind_is_right = stat.S_ISBLK(mode) if is_block else stat.S_ISREG(mode)
    if not kind_is_right:
        raise StateError(f"{path} is no {'block device' if is_block else 'image file'}")
    return True


def _make_image(path: Path, wanted: DiskSpec) -> None:
    _remove_leftovers(path)
    unfinished, descriptor = _open_unfinished(path)
    try:
        _fill(unfinished, descriptor, wanted)
        os.fsync(descriptor)
        try:
            os.link(unfinished, path)
        except FileExistsError:
            raise StateError(f"{path} has come into being meanwhile; try again") from None
    finally:
        unfinished.unlink()
        os.close(descriptor)
    sync_folder(path.parent)


def _open_unfinished(path: Path) -> "tuple[Path, int]":
    """A new file beside the path, open and locked.

    Between making and locking it, another process may take it for a leftover and remove it; then there is a next one.
    """
    while True:
        unfinished = path.with_name(f"{_unfinished_prefix(path)}{os.getpid()}-{os.urandom(4).hex()}")
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink == 1:
            return unfinished, descriptor
        os.close(descriptor)


def _fill(unfinished: Path, descriptor: int, wanted: DiskSpec) -> None:
    size_bytes = wanted.size_gb * BYTES_PER_GB
    if wanted.format == "raw":
        os.ftruncate(descriptor, size_bytes)
    else:
        run_checked(
            ["qemu-img", "create", "-q", "-f", wanted.format, str(unfinished), str(size_bytes)],
            deadline_seconds=_QEMU_IMG_DEADLINE_SECONDS,
        )


def _unfinished_prefix(path: Path) -> str:
    return f".{path.name}.unfinished-"


def _remove_leftovers(path: Path) -> None:
    """Remove what a killed creation left; one that is still at work holds its file locked."""
    for leftover in list(_leftovers(path)):
        try:
            descriptor = os.open(leftover, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its maker has finished, or somebody else has removed it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
        except (BlockingIOError, FileNotFoundError):
            pass  # somebody else is making the image, or has removed this just now
        finally:
            os.close(descriptor)


def _leftovers(path: Path) -> Iterator[Path]:
    prefix = _unfinished_prefix(path)
    return (entry for entry in path.parent.iterdir() if entry.name.startswith(prefix))


def _room(path: Path) -> "tuple[int, int]":
    for folder in path.parents:
        try:
            filesystem = os.statvfs(folder)
        except OSError:
            continue
        return filesystem.f_blocks * filesystem.f_frsize, filesystem.f_bavail * filesystem.f_frsize
    return 0, 0


def _device_bytes(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
