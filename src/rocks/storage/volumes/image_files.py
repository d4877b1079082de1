"""A file of which an image is made: its format, who may change it, its content as a raw file."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rocks.core.errors import HostError, StateError, ToolError, UserError
from rocks.core.image_blocks import disk_format
from rocks.core.process import run
from rocks.core.values import size_text
from rocks.library.conversion import SpaceError, check_qcow2, check_space, opened, write_raw
from rocks.library.sources import open_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMATS = {"raw": "raw", "img": "raw", "qcow2": "qcow2"}
"""A file's suffix → its format; any other format must be stated."""

_LOOK_SECONDS = 60.0
_CONVERT_SECONDS = 24 * 3600


class ImageFile(NamedTuple):
    """A file to import. Its content, which a guest may have written, never determines its format."""

    path: Path
    format: str


def read_image_file(path: str, stated: str) -> ImageFile:
    """The file at `path`. UserError when it does not exist, or its format is unknown.

    UserError also when its name means raw but its content looks like another format: many qcow2 files end in .img.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"file={path} is not a file on this machine")
    chosen = stated or FORMATS.get(file.suffix.lstrip("."), "")
    if chosen not in FORMATS.values():
        raise UserError(f"the format of {path} is unclear or not imported: give format=raw or format=qcow2")
    if chosen == "raw" and not stated:
        _check_raw(file)
    return ImageFile(file, chosen)


@contextmanager
def as_raw(file: ImageFile, watch: Callable[[float], None] | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """The content of a file as an open raw file, and its size. UserError or StateError for an unusable file.

    `watch` receives the percentage of a conversion, which may take hours.
    """
    if file.format == "raw":
        with _open(file.path) as content:
            size_bytes = os.fstat(content.fileno()).st_size
            if size_bytes == 0:
                raise UserError(f"{file.path} is empty")
            yield content, size_bytes
        return
    own = _own_file(file.path)
    size_bytes = _virtual_size(ImageFile(own, file.format))
    try:
        check_qcow2(own, size_bytes)
    except UserError as error:
        raise UserError(f"{file.path} is not imported: {error}") from None
    folder = own.parent

    def watched(percent: float) -> None:
        try:
            check_space(folder)
        except SpaceError:
            raise HostError(
                f"{folder} has too little free space for the content of {file.path.name}, "
                f"{size_text(size_bytes)} at most; move the file to a larger file system"
            ) from None
        if watch is not None:
            watch(percent)

    # it has no name: nothing remains of it, also after a kill
    with tempfile.TemporaryFile(dir=folder) as raw:
        done = write_raw(own, opened(raw.fileno()), size_bytes, watched, _CONVERT_SECONDS)
        if done.exit_status:
            raise ToolError(f"qemu-img failed with exit status {done.exit_status}: {done.error_text}")
        yield raw, size_bytes


def _open(path: Path) -> BinaryIO:
    """A plain file that no link of another user has led to. UserError for what cannot be read."""

    def opener(name: str, flags: int) -> int:
        folder = open_folder(path.absolute().parent)
        try:
            return os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)

    try:
        content = open(path, "rb", buffering=0, opener=opener)  # noqa: PTH123, SIM115 - the caller's `with`
    except OSError as error:
        reason = "it is a symbolic link; give its target" if error.errno == errno.ELOOP else error.strerror
        raise UserError(f"{path} cannot be read: {reason}") from None
    if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
        content.close()
        raise UserError(f"file={path} is not a file on this machine")
    return content


def _own_file(path: Path) -> Path:
    """The file behind all links. UserError unless only this user can change it and its way.

    qemu-img reads it twice, by its name: who could change it in between would choose which files of this machine are
    read.
    """
    file = path.resolve()
    for place in (file, *file.parents):
        found = place.stat()
        others = found.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if found.st_gid else 0))
        is_sticky = place != file and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or (others and not is_sticky):
            raise UserError(
                f"other users can change {place} while {path} is read; copy the file to a folder of root's first"
            )
    return file


def _check_raw(file: Path) -> None:
    """UserError when a file looks like another format than raw; its content is used for nothing else."""
    try:
        with file.open("rb") as content:
            head = content.read(128)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    kind = disk_format(head)
    if kind:
        convert = f"Convert it (qemu-img convert -f {kind} -O qcow2) and give format=qcow2"
        # QEMU calls VHD by the name of the program that had it first
        known = "VHD" if kind == "vpc" else kind.upper()
        name, remedy = (kind, "Give format=qcow2") if kind == "qcow2" else (known, convert)
        raise UserError(
            f"{file} looks like {name}, but its name means raw. {remedy}, or give format=raw if this header belongs to "
            "the content of the disk"
        )


def _virtual_size(file: ImageFile) -> int:
    """The virtual size of a file. StateError when it refers to other files, which its author could choose freely."""
    command = ["qemu-img", "info", "--output=json", "-f", file.format, str(file.path)]
    answer = run(command, deadline_seconds=_LOOK_SECONDS)
    if answer.exit_status != 0:
        raise UserError(
            f"{file.path} is not a {file.format} file: {answer.error_text.splitlines()[-1][:200]}"
        )
    try:
        info = json.loads(answer.text)
        size_bytes = int(info["virtual-size"])
    except (ValueError, KeyError):
        raise ToolError(f"qemu-img printed no usable information about {file.path}") from None
    details = info.get("format-specific", {}).get("data", {})
    if "backing-filename" in info or "data-file" in details:
        raise StateError(
            f"{file.path} refers to another file; if you trust it, make a whole file of it with `qemu-img convert`"
        )
    return size_bytes
