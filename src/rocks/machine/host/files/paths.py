"""Opens files of guests so that no local user can lead this system, or QEMU after it, to another file.

Every folder on the way belongs to root, and nobody else may change its entries. So no name on the way can change
between a check here and the moment when QEMU opens the path. Below the image directory no symbolic link is followed.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import StateError, UserError
from rocks.core.files import remove_drafts
from rocks.machine.host.files.qemu_owner import qemu_owner

FOLDER_MODE = 0o711
_QEMU_ONLY_MODE = 0o710
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_LINKS = 16
_MAX_PLACING_SECONDS = 1.0
_STICKY = stat.S_ISVTX
_FSTAB = Path("/etc/fstab")
_MOUNTED = Path("/proc/self/mountinfo")


def check_path(path: str) -> str:
    """The path itself. UserError unless it is absolute and normalized."""
    if not path.startswith("/") or "\0" in path or path != os.path.normpath(path):
        raise UserError(f"{path[:200]!r} is not an absolute, normalized path of a disk")
    return path


@contextmanager
def opened_folder(directory: str, below: str = "", *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `below` the image directory; `make` creates what is missing.

    StateError when somebody other than root can change a name on the way, or for a symbolic link below the
    directory; OSError when a folder is missing.
    """
    descriptor = _open_directory(check_path(directory), make)
    try:
        where = directory
        for name in [part for part in below.split("/") if part]:
            where = f"{where.rstrip('/')}/{name}"
            if _target(descriptor, name) is not None:
                raise _is_link(where)
            descriptor = _enter(descriptor, name, where, make, is_image_folder=True)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_image_folder(path: str, directory: str, *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder of an image, in which only root changes names.

    `directory` is the image directory above it, '' for the folder itself. StateError for a path that is not below it;
    otherwise as `opened_folder`.
    """
    folder = check_path(path).rpartition("/")[0]
    directory = check_path(directory or folder or "/").rstrip("/")
    if not f"{folder}/".startswith(f"{directory}/"):
        raise StateError(f"{path} is not below the image directory {directory or '/'}")
    with opened_folder(directory or "/", folder[len(directory) :], make=make) as descriptor:
        check_closed(descriptor, folder or "/")
        yield descriptor


def open_file(folder: int, name: str, path: str) -> Optional[int]:
    """A descriptor of the regular file, opened to read; None when there is no such name.

    Drafts that killed writers left as its second name are removed.

    StateError for a symbolic link, for another kind of file, and for a file with more than one name.
    """
    try:
        before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(before.st_mode):
        raise _is_link(path)
    if not stat.S_ISREG(before.st_mode):
        raise StateError(f"{path} is not an image file")
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
    try:
        status = _status_with_one_name(descriptor, path)
        if (status.st_dev, status.st_ino) != (before.st_dev, before.st_ino):
            raise StateError(f"{path} was replaced while it was opened; try again")
        if status.st_nlink > 1:
            raise StateError(
                f"{path} is linked: the file has {status.st_nlink} names, so others can reach it; copy it to a file of "
                "its own"
            )
        _check_same(path, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _status_with_one_name(descriptor: int, path: str) -> os.stat_result:
    """The file's status, after a moment in which another process may be between link(2) and unlink(2) of its draft.

    A process that was killed between them has left its draft as a second name, which is removed.
    """
    end_at = monotonic_seconds() + _MAX_PLACING_SECONDS
    while (status := os.fstat(descriptor)).st_nlink > 1 and monotonic_seconds() < end_at:
        remove_drafts(Path(path))
        time.sleep(0.02)
    return status


def check_mounted(path: str) -> None:
    """StateError for a missing file where a file system of /etc/fstab is not mounted: the file may be on it."""
    if os.path.lexists(path):
        return
    place = os.path.realpath(path)
    mounted = {_unescaped(line.split()[4]) for line in _lines(_MOUNTED)}
    for fields in (line.split() for line in _lines(_FSTAB)):
        if len(fields) < 3 or fields[0].startswith("#") or not fields[1].startswith("/"):
            continue
        point = _unescaped(fields[1])
        if (point.rstrip("/") or "/") in mounted:
            continue  # not touched: the server of another file system may not answer
        folder = os.path.realpath(point)
        if folder != "/" and place.startswith(f"{folder}/") and folder not in mounted:
            raise StateError(
                f"{path} is not created: the file system of {point} is not mounted, and may have it; run "
                f"`mount {shlex.quote(point)}` on the host"
            )


def _unescaped(point: str) -> str:
    """A mount point as both tables have it: `\\040` is a space (fstab(5), proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)


def _lines(table: Path) -> "list[str]":
    try:
        return table.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def check_owner(path: str, status: os.stat_result) -> None:
    """StateError unless the file belongs to root or to QEMU's user."""
    if status.st_uid not in (*_trusted(), qemu_owner().uid):
        raise StateError(f"{path} belongs to user {status.st_uid}, who may have it open; copy it as root")


def _check_same(path: str, status: os.stat_result) -> None:
    """QEMU will open the path itself, as the kernel resolves it."""
    named = Path(path).stat()
    if (named.st_dev, named.st_ino) != (status.st_dev, status.st_ino):
        raise StateError(f"{path} leads to another file than its folders do; give the path without links")


def _open_directory(path: str, make: bool) -> int:
    """Follow the path from the root; a symbolic link in it starts again with its target."""
    for _ in range(_MAX_LINKS):
        found = _follow(path, make)
        if isinstance(found, int):
            return found
        path = found
    raise StateError(f"{path[:200]} has too many symbolic links")


def _follow(path: str, make: bool) -> "int | str":
    """A descriptor of the folder, or the path to follow instead after the first symbolic link."""
    parts = [part for part in path.split("/") if part]
    descriptor = os.open("/", _FOLDER_FLAGS)
    try:
        for number, name in enumerate(parts):
            where = "/" + "/".join(parts[: number + 1])
            target = _target(descriptor, name)
            if target is not None:
                _check_entry(descriptor, name, where)
                beside = Path(where).parent
                os.close(descriptor)
                descriptor = -1
                return os.path.normpath(beside.joinpath(target, *parts[number + 1 :]))
            descriptor = _enter(descriptor, name, where, make, is_image_folder=number == len(parts) - 1)
        found, descriptor = descriptor, -1
        return found
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _enter(folder: int, name: str, where: str, make: bool, *, is_image_folder: bool) -> int:
    """A descriptor of the folder inside, instead of that of the one around it, which is closed on success."""
    try:
        inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        inner = _create_folder(folder, name, is_image_folder)
    try:
        _check_entry(folder, name, where)
    except BaseException:
        os.close(inner)
        raise
    os.close(folder)
    return inner


def _create_folder(folder: int, name: str, is_image_folder: bool) -> int:
    """Make it so that only QEMU enters a folder of images. One that exists is the site's own, and stays as it is."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return os.open(name, _FOLDER_FLAGS, dir_fd=folder)  # another process has just made it
    inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    group = qemu_owner().gid if is_image_folder else None
    if group is None:
        os.fchmod(inner, FOLDER_MODE)
    else:
        os.fchown(inner, -1, group)
        os.fchmod(inner, _QEMU_ONLY_MODE)
    os.fsync(folder)
    return inner


def _target(folder: int, name: str) -> Optional[str]:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _is_link(path: str) -> StateError:
    return StateError(
        f"{path} is a symbolic link, and disks are taken from image directories only; give its target"
    )


def _check_entry(folder: int, name: str, where: str) -> None:
    """StateError when somebody other than root can replace this entry of the folder."""
    around, entry = os.fstat(folder), os.stat(name, dir_fd=folder, follow_symlinks=False)
    is_sticky = bool(around.st_mode & _STICKY) and entry.st_uid in _trusted()
    is_open = around.st_mode & 0o002 or (around.st_mode & 0o020 and around.st_gid != 0)
    if around.st_uid not in _trusted() or (is_open and not is_sticky):
        raise _unsafe(str(Path(where).parent), around)


def check_closed(folder: int, path: str) -> None:
    """StateError when somebody other than root can change the entries of the folder itself."""
    status = os.fstat(folder)
    if (
        status.st_uid not in _trusted()
        or status.st_mode & 0o002
        or (status.st_mode & 0o020 and status.st_gid != 0)
    ):
        raise _unsafe(path, status)


def _unsafe(path: str, status: os.stat_result) -> StateError:
    return StateError(
        f"{path} is not safe for disk images: others than root can change its entries (owner {status.st_uid}, mode "
        f"{stat.S_IMODE(status.st_mode):04o}); make it root's and writable by root only, or use another folder"
    )


def _trusted() -> "tuple[int, ...]":
    """Root; a test without root trusts itself."""
    return (0, os.geteuid())
