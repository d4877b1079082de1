"""Disks of guests: facts of a path, and creation of missing images. Nothing here removes an image.

A complete image gets its name by link(2), which never replaces a file. libvirt then changes its owner to the user of
the guests (dynamic ownership). That user must be able to traverse the folders, so new folders get mode 0711.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.errors import HostError, StateError, UserError
from rocks.files import Draft, draft, ensure_folders
from rocks.process import run_checked
from rocks.units import BYTES_PER_GB
from rocks.wire.agent import DiskSpec
from rocks.wire.facts import DiskFact

_FOLDER_MODE = 0o711
_QEMU_IMG_DEADLINE_SECONDS = 30.0


def read_disk(path: str) -> DiskFact:
    """The disk at the path. UserError for a path that is relative or contains `..`."""
    check_path(path)
    try:
        status = Path(path).stat()
    except OSError:
        status = None
    is_block = status is not None and stat.S_ISBLK(status.st_mode)
    filesystem_bytes, free_bytes = (0, 0) if is_block else _filesystem_bytes(Path(path))
    return DiskFact(
        path=path,
        exists=status is not None,
        is_block=is_block,
        size_bytes=_device_bytes(path) if is_block else 0 if status is None else status.st_size,
        filesystem_bytes=filesystem_bytes,
        free_bytes=free_bytes,
    )


def ensure_disk(spec: DiskSpec) -> Change:
    """Create a sparse image unless the disk exists; an existing disk is not changed.

    StateError when the path is another kind of file or the block device is missing; HostError when creation fails.
    """
    path = Path(check_path(spec.path))
    try:
        if _is_there(path, spec.is_block):
            return UNCHANGED
        if spec.is_block:
            raise StateError(f"there is no block device {path} on this host")
        ensure_folders(path.parent, _FOLDER_MODE)
        _make_image(path, spec)
    except OSError as error:
        raise HostError(f"cannot make the image {path}: {error.strerror}") from None
    return CHANGED


def check_path(path: str) -> str:
    """The path itself. UserError unless it is absolute and normalized."""
    if not path.startswith("/") or "\0" in path or path != os.path.normpath(path):
        raise UserError(f"{path[:200]!r} is not an absolute, normalized path of a disk")
    return path


def _is_there(path: Path, is_block: bool) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise StateError(f"{path} is a dangling symbolic link; remove it or create its target") from None
        return False
    kind_is_right = stat.S_ISBLK(mode) if is_block else stat.S_ISREG(mode)
    if not kind_is_right:
        raise StateError(f"{path} is not {'a block device' if is_block else 'an image file'}")
    return True


def _make_image(path: Path, spec: DiskSpec) -> None:
    try:
        with draft(path, replace=False) as image:
            _fill(image, spec)
    except FileExistsError:
        raise StateError(f"{path} was created by another process; try again") from None


def _fill(image: Draft, spec: DiskSpec) -> None:
    size_bytes = spec.size_gb * BYTES_PER_GB
    if spec.format == "raw":
        os.ftruncate(image.descriptor, size_bytes)
    else:
        run_checked(
            ["qemu-img", "create", "-q", "-f", spec.format, str(image.path), str(size_bytes)],
            deadline_seconds=_QEMU_IMG_DEADLINE_SECONDS,
        )


def _filesystem_bytes(path: Path) -> "tuple[int, int]":
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
