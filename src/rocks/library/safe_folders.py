"""Folders of people, opened so that no link of another user leads elsewhere.

Root reads files below folders of people. Who may write to one of these folders can put a link in its place, at any
moment. So each name on the way is opened in the folder before it, and what is opened stays open.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from rocks.core.errors import UserError
from rocks.core.terminal import one_line

_NAME = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
"""As many as the kernel follows."""


def open_folder(path: Path) -> int:
    """A descriptor of the folder, for the names in it, not for its content.

    Links of root, and of the user of this process, are followed. UserError for a link of another one; OSError.
    """
    names = list(reversed(path.absolute().parts[1:]))
    way, links = Path("/"), 0
    folder = os.open("/", _NAME)
    try:
        while names:
            name = names.pop()
            found = os.open(name, _NAME, dir_fd=folder)
            try:
                status = os.fstat(found)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    target = _target(found, status, way / name, links)
                    names += reversed([part for part in target.split("/") if part])
                    if target.startswith("/"):
                        way = Path("/")
                        os.close(folder)
                        folder = os.open("/", _NAME)
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                way /= name
                folder, found = found, folder
            finally:
                os.close(found)
    except BaseException:
        os.close(folder)
        raise
    return folder


def names_in(path: Path) -> list[str]:
    """The names in a folder, which is no link itself. UserError, OSError as `open_folder`."""
    parent = open_folder(path.parent)
    try:
        folder = os.open(
            path.name or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
        )
    finally:
        os.close(parent)
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - of the descriptor, not of a path
    finally:
        os.close(folder)


def _target(link: int, status: os.stat_result, path: Path, links: int) -> str:
    if status.st_uid not in (0, os.geteuid()):
        raise UserError(f"{one_line(str(path))} is a symbolic link of another user; give its target")
    if links > _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return os.readlink("", dir_fd=link)
