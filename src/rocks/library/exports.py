"""Exports an image of the library to a file: raw with holes, compressed qcow2, or packed with zstd."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rocks.core.errors import HostError, StateError, ToolError, UserError
from rocks.core.files import Draft, draft, explain
from rocks.core.image_blocks import data_blocks, write_block
from rocks.core.values import BYTES_PER_SECTOR, size_text
from rocks.library.conversion import SpaceWatch, write_qcow2
from rocks.library.damaged_images import verified_image
from rocks.library.imports import packed_zstd
from rocks.library.progress import Meter, Progress
from rocks.library.records import LibraryImage
from rocks.library.sources import SequentialReader

EXPORT_FORMATS = ("raw", "qcow2", "zstd")
"""How an image may be exported."""

_MARGIN_BYTES = 16 * 1024**2
_OVERHEAD = 1.01
"""A qcow2 image of data that cannot be compressed is a little larger than they are."""


def export_image(library: Path, image: LibraryImage, file: Path, format_name: str, progress: Progress) -> int:
    """Write the image to a new file that only root reads; returns the bytes that it takes.

    StateError when the file exists, IncoherentError when the image is not what was imported, HostError when the file
    cannot be written. Then there is no file.
    """
    if format_name == "qcow2" and image.format == "iso":
        raise UserError(f"{image.name} is an ISO, which qcow2 is not for; give format=raw or format=zstd")
    _check_place(library, file)
    meter = Meter(progress, f"{image.name} is checked", image.used_bytes)
    remedy = f"it is not saved; see rocks check image {image.name}"
    with verified_image(library, image, meter.reach, remedy) as source:
        try:
            _check_free(file.parent, image.used_bytes if format_name == "raw" else 0)
            with draft(file, replace=False) as new:
                _WRITERS[format_name](source, new, image, progress)
                return os.fstat(new.descriptor).st_blocks * BYTES_PER_SECTOR
        except FileExistsError:
            raise _exists(file) from None
        except OSError as error:
            raise HostError(f"{image.name} is not saved: {explain(error, file)}") from None


def _check_place(library: Path, file: Path) -> None:
    if os.path.lexists(file):
        raise _exists(file)
    try:
        is_library = library.exists() and file.parent.samefile(library)
    except OSError as error:
        raise UserError(
            f"{file} cannot be written: {error.strerror}; give a file in a folder that exists"
        ) from None
    if is_library:
        raise UserError(f"{file} is in the library itself; give a file in another folder")


def _exists(file: Path) -> StateError:
    return StateError(f"{file} exists already; give another file")


def _write_raw(source: int, new: Draft, image: LibraryImage, progress: Progress) -> None:
    os.ftruncate(new.descriptor, image.size_bytes)
    meter = Meter(progress, image.name, image.used_bytes)
    space = SpaceWatch(lambda written: _check_free(new.path.parent, image.used_bytes - written))
    for offset, block in data_blocks(source):
        space.count(len(block))
        write_block(new.descriptor, offset, block)
        meter.count(len(block))


def _write_zstd(source: int, new: Draft, image: LibraryImage, progress: Progress) -> None:
    meter = Meter(progress, image.name, image.size_bytes)
    space = SpaceWatch(lambda written: _check_free(new.path.parent, 0))
    reader = SequentialReader(_reader_of(source, image), lambda data: meter.count(len(data)))
    for piece in packed_zstd(reader):
        space.count(len(piece))
        new.write(piece)


def _reader_of(source: int, image: LibraryImage) -> Callable[[int, int], bytes]:
    """Reads the open image, which was verified. HostError when it has become shorter, or cannot be read any more."""

    def read_at(offset: int, length: int) -> bytes:
        try:
            data = os.pread(source, length, offset)
        except OSError as error:
            raise HostError(f"the image {image.name} cannot be read: {error.strerror}") from None
        if not data and offset < image.size_bytes:
            raise HostError(
                f"the image {image.name} became shorter while it was read; see rocks check image {image.name}"
            )
        return data

    return read_at


def _write_qcow2(source: int, new: Draft, image: LibraryImage, progress: Progress) -> None:
    max_bytes = int(image.size_bytes * _OVERHEAD) + _MARGIN_BYTES
    try:
        write_qcow2(source, new.descriptor, max_bytes, progress, lambda: _check_free(new.path.parent, 0))
    except ToolError as error:
        raise ToolError(f"{image.name} is not saved in {new.path.parent}: {error}") from None


_WRITERS: dict[str, Callable[[int, Draft, LibraryImage, Progress], None]] = {
    "raw": _write_raw,
    "qcow2": _write_qcow2,
    "zstd": _write_zstd,
}


def _check_free(folder: Path, needed_bytes: int) -> None:
    """HostError unless so many bytes and a few more are free."""
    status = os.statvfs(folder)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < needed_bytes + _MARGIN_BYTES:
        raise HostError(
            f"{folder} has {size_text(free_bytes)} free, and {size_text(needed_bytes + _MARGIN_BYTES)} are needed; "
            "give a file on another file system"
        )
