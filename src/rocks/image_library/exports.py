"""Exports an image of the library to a file: raw with holes, compressed qcow2, or packed with zstd."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rocks.errors import HostError, IncoherentError, StateError, ToolError, UserError
from rocks.files import Draft, draft, explain
from rocks.image_blocks import content_of, data_blocks, write_block
from rocks.image_library.conversion import write_qcow2
from rocks.image_library.progress import Meter, Progress
from rocks.image_library.records import LibraryImage, image_file
from rocks.image_library.sources import SequentialReader, Sources
from rocks.image_library.unpacking import packed_zstd
from rocks.units import BYTES_PER_SECTOR, size_text

EXPORT_FORMATS = ("raw", "qcow2", "zstd")
"""How an image may be exported."""

_CHECK_EVERY_BYTES = 64 * 1024**2
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
    with _opened(library, image) as source:
        _check_content(source, image, progress)
        try:
            _check_free(file.parent, image.used_bytes if format_name == "raw" else 0)
            with draft(file, replace=False) as new:
                _WRITERS[format_name](image_file(library, image.name), source, new, image, progress)
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


@contextmanager
def _opened(library: Path, image: LibraryImage) -> Iterator[int]:
    path = image_file(library, image.name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(
            f"the image {image.name} cannot be read: {error.strerror}; see rocks check image {image.name}"
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_content(source: int, image: LibraryImage, progress: Progress) -> None:
    """IncoherentError unless the file is the image of the record: a damaged one is not passed on."""
    meter = Meter(progress, f"{image.name} is checked", image.used_bytes)
    try:
        found = content_of(source, meter.reach)
    except OSError as error:
        raise HostError(f"the image {image.name} cannot be read: {error.strerror}") from None
    if (found.size_bytes, found.digest) != (image.size_bytes, image.digest):
        raise IncoherentError(
            f"the image {image.name} is not what was imported, and is not saved; see rocks check image {image.name}"
        )


def _write_raw(path: Path, source: int, new: Draft, image: LibraryImage, progress: Progress) -> None:
    os.ftruncate(new.descriptor, image.size_bytes)
    meter, next_check = Meter(progress, image.name, image.used_bytes), 0
    written = 0
    for offset, block in data_blocks(source):
        if written >= next_check:
            _check_free(new.path.parent, image.used_bytes - written)
            next_check = written + _CHECK_EVERY_BYTES
        write_block(new.descriptor, offset, block)
        written += len(block)
        meter.count(len(block))


def _write_zstd(path: Path, source: int, new: Draft, image: LibraryImage, progress: Progress) -> None:
    meter = Meter(progress, image.name, image.size_bytes)
    next_check = written = 0
    with Sources((path,)) as sources:
        for piece in packed_zstd(SequentialReader(sources, lambda data: meter.count(len(data)))):
            if written >= next_check:
                _check_free(new.path.parent, 0)
                next_check = written + _CHECK_EVERY_BYTES
            new.write(piece)
            written += len(piece)


def _write_qcow2(path: Path, source: int, new: Draft, image: LibraryImage, progress: Progress) -> None:
    most_bytes = int(image.size_bytes * _OVERHEAD) + _MARGIN_BYTES
    try:
        write_qcow2(source, new.descriptor, most_bytes, progress, lambda: _check_free(new.path.parent, 0))
    except ToolError as error:
        raise ToolError(f"{image.name} is not saved in {new.path.parent}: {error}") from None


_WRITERS: dict[str, Callable[[Path, int, Draft, LibraryImage, Progress], None]] = {
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
