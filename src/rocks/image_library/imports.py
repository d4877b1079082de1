"""Imports a file into the library: checked, unpacked, converted to a raw image without blocks of zeros, and recorded.

What people gave is opened once, and read by this process or copied into the library before a tool sees it. All that is
written is a draft until it is complete.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rocks.cluster.guest_images import check_image_name
from rocks.errors import HostError, StateError, ToolError, UserError
from rocks.files import Draft, draft, ensure_folders, explain
from rocks.image_blocks import BLOCK_BYTES, content_of, data_blocks, write_block
from rocks.image_library.headers import FileKind, kind_of, read_qcow2
from rocks.image_library.records import (
    ImageFormat,
    LibraryImage,
    find_image,
    image_file,
    remove_leftovers,
    write_record,
)
from rocks.image_library.unpacking import UNPACKERS
from rocks.process import run
from rocks.terminal import one_line
from rocks.units import BYTES_PER_GB, BYTES_PER_GIB, gigabytes

FORMATS = ("raw", "qcow2", "iso")
"""What may be stated as the format of an image, packed or not."""

_RESERVED_BYTES = BYTES_PER_GIB
_CHECK_EVERY_BYTES = 64 * 1024**2
_SECTOR_BYTES = 512
_TOOL_SECONDS = 4 * 3600
_TOOL_MEMORY_BYTES = 2 * BYTES_PER_GIB
_ZEROS = bytes(BLOCK_BYTES)

Progress = Callable[[str], None]


class ImportRequest(NamedTuple):
    """What is imported: the name, the file, and what is known of it beforehand.

    `checksum` is the SHA-256 of the file in hexadecimal, `format` one of `FORMATS`. An image larger than `most_gb` is
    refused, whatever its file states.
    """

    name: str
    file: Path
    most_gb: int
    checksum: str | None = None
    format: str | None = None
    comment: str = ""


def import_image(library: Path, request: ImportRequest, progress: Progress) -> LibraryImage:
    """Import the file; `progress` gets a line now and then.

    UserError for a file that is no image, is not what was stated, or is too large; StateError when the image exists;
    HostError when the library cannot be written. Then nothing is left.
    """
    check_image_name(request.name)
    if find_image(library, request.name) is not None:
        raise StateError(
            f"there is an image {request.name} already; give another name, or rocks remove image {request.name} first"
        )
    target = image_file(library, request.name)
    with _opened(request.file) as source:
        before = os.fstat(source)
        try:
            ensure_folders(library, 0o755)
            remove_leftovers(library)
            with draft(target) as image, _verified(source, request, target, progress) as copy:
                stored_as = _write(source, copy, request, target, image, progress)
                image_content = content_of(image.descriptor, _percent("checksum", before.st_size, progress))
                _check_unchanged(before, os.fstat(source))
            imported = LibraryImage(
                request.name, stored_as, *image_content, request.checksum or "", request.comment
            )
            write_record(library, imported)
        except UserError as error:
            raise UserError(f"{request.file} is not imported: {error}") from None
        except OSError as error:
            raise HostError(f"the image {request.name} is not imported: {explain(error, target)}") from None
    return imported


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "it is a symbolic link; give its target" if error.errno == errno.ELOOP else error.strerror
        raise UserError(f"{path} is not imported: {reason}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UserError(f"{path} is not imported: it is not a file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _verified(
    source: int, request: ImportRequest, target: Path, progress: Progress
) -> Iterator[Draft | None]:
    """A copy in the library whose SHA-256 is the stated one, None without a checksum.

    The file's owner can change the file after it was read, and set its time back.
    """
    if request.checksum is None:
        yield None
        return
    with _staged(target) as copy:
        digest = hashlib.sha256()
        watch = _percent("SHA-256 of the file", os.fstat(source).st_size, progress)
        _fill(copy, _hashed(source, digest.update, watch), request.most_gb * BYTES_PER_GB, lambda text: None)
        if digest.hexdigest() != request.checksum:
            raise UserError(f"its SHA-256 is {digest.hexdigest()}, not {request.checksum}; fetch it again")
        yield copy


def _hashed(
    source: int, update: Callable[[bytes], None], watch: Callable[[int], None]
) -> Iterator[tuple[int, bytes]]:
    """(offset, block) of the whole file, holes too."""
    offset = 0
    while block := os.pread(source, BLOCK_BYTES, offset):
        update(block)
        yield offset, block
        offset += len(block)
        watch(offset)


def _check_unchanged(before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UserError("it was changed while it was read; repeat the command when it is complete")


def _write(
    source: int,
    copy: Draft | None,
    request: ImportRequest,
    target: Path,
    image: Draft,
    progress: Progress,
) -> ImageFormat:
    """Fill the draft with the image, as raw; returns how it is stored. `copy` is the source in the library."""
    source = source if copy is None else copy.descriptor
    kind = kind_of(source)
    most_bytes = request.most_gb * BYTES_PER_GB
    if kind in UNPACKERS:
        with _staged(target) as staged:
            _fill(staged, _sequence(UNPACKERS[kind](source)), most_bytes, progress)
            return _write_plain(
                staged.descriptor, staged, kind_of(staged.descriptor), request, image, progress
            )
    if kind != "qcow2" or copy is not None:
        return _write_plain(source, copy, kind, request, image, progress)
    with _staged(target) as staged:
        _fill(staged, data_blocks(source), most_bytes, progress)
        os.ftruncate(staged.descriptor, os.fstat(source).st_size)
        return _write_plain(staged.descriptor, staged, kind, request, image, progress)


@contextmanager
def _staged(target: Path) -> Iterator[Draft]:
    """A file of the library that is gone afterwards."""
    place = target.with_name(f"{target.name}.source")
    try:
        with draft(place) as staged:
            yield staged
            raise _DoneError
    except _DoneError:
        return


class _DoneError(Exception):
    """Ends a draft without giving it its name."""


def _write_plain(
    source: int,
    staged: Draft | None,
    kind: FileKind,
    request: ImportRequest,
    image: Draft,
    progress: Progress,
) -> ImageFormat:
    if kind in UNPACKERS:
        raise UserError("it is packed twice; unpack it first")
    if request.format is not None and request.format != kind:
        raise UserError(f"it is {_named(kind)}, not {_named(request.format)}")
    most_bytes = request.most_gb * BYTES_PER_GB
    if kind == "qcow2":
        assert staged is not None
        _check_size(read_qcow2(source).size_bytes, most_bytes)
        _convert(staged, image, most_bytes, progress)
    else:
        size = os.fstat(source).st_size
        _check_size(size, most_bytes)
        _fill(image, data_blocks(source), most_bytes, progress)
        os.ftruncate(image.descriptor, -(-size // _SECTOR_BYTES) * _SECTOR_BYTES)
    if next(data_blocks(image.descriptor), None) is None:
        raise UserError("it has no data: all of it is zeros")
    return "iso" if kind == "iso" else "raw"


def _fill(file: Draft, blocks: Iterable[tuple[int, bytes]], most_bytes: int, progress: Progress) -> None:
    """Write the blocks, and stop before the image is too large or the file system is full."""
    written, next_check = 0, 0
    for offset, block in blocks:
        if offset + len(block) > most_bytes:
            raise _too_large(f"more than {gigabytes(most_bytes)}", most_bytes)
        if written >= next_check:
            _check_space(file.path.parent)
            progress(f"{gigabytes(written)} written")
            next_check = written + _CHECK_EVERY_BYTES
        if block != _ZEROS[: len(block)]:
            write_block(file.descriptor, offset, block)
            written += len(block)
        else:
            os.ftruncate(file.descriptor, offset + len(block))


def _sequence(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(offset, block) of a stream of pieces."""
    offset, rest = 0, b""
    for piece in pieces:
        rest += piece
        whole = len(rest) - len(rest) % BLOCK_BYTES
        for start in range(0, whole, BLOCK_BYTES):
            yield offset + start, rest[start : start + BLOCK_BYTES]
        offset, rest = offset + whole, rest[whole:]
    if rest:
        yield offset, rest


def _convert(staged: Draft, image: Draft, most_bytes: int, progress: Progress) -> None:
    """Convert the qcow2 image, whose format is stated, never probed; memory, time and size are bounded."""
    _check_space(image.path.parent)
    progress("checking the image")
    done = _run_tool(["qemu-img", "check", "-q", "-f", "qcow2", str(staged.path)], most_bytes)
    if done not in (0, 3):  # 3: clusters that are in use by nobody, which do no harm
        raise UserError("qemu-img check finds errors in it; it may be cut off: fetch it again")
    progress("converting the image")
    source = ["-f", "qcow2", "-O", "raw", "-S", "64k", str(staged.path), str(image.path)]
    convert = ["qemu-img", "convert", "-p", *source]  # -p: `run` watches a program that writes something
    if _run_tool(convert, most_bytes, lambda output: _check_space(image.path.parent)) != 0:
        _check_space(image.path.parent)
        raise UserError("qemu-img cannot convert it; it may be damaged: fetch it again")


def _run_tool(arguments: list[str], most_bytes: int, watch: Callable[[bytes], None] | None = None) -> int:
    """Run the program below bounds; returns its exit status. What `watch` raises ends it."""
    bounds = [f"--as={_TOOL_MEMORY_BYTES}", f"--cpu={_TOOL_SECONDS}", f"--fsize={most_bytes}", "--core=0"]
    try:
        return run(["prlimit", *bounds, *arguments], deadline_seconds=_TOOL_SECONDS, watch=watch).exit_status
    except ToolError as error:
        raise HostError(one_line(str(error))) from None


def _check_size(size_bytes: int, most_bytes: int) -> None:
    if size_bytes > most_bytes:
        raise _too_large(gigabytes(size_bytes), most_bytes)
    if size_bytes == 0:
        raise UserError("it is empty")
    if size_bytes < _SECTOR_BYTES:
        raise UserError(f"{size_bytes} bytes are no disk: the smallest has one sector, {_SECTOR_BYTES} bytes")


def _too_large(size: str, most_bytes: int) -> UserError:
    return UserError(
        f"it is a disk of {size}, and {gigabytes(most_bytes)} is the most that is imported; if it is meant to be that "
        "large, give size=GB"
    )


def _check_space(folder: Path) -> None:
    status = os.statvfs(folder)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < _RESERVED_BYTES:
        raise HostError(
            f"{folder} has {gigabytes(free_bytes)} free, and {gigabytes(_RESERVED_BYTES)} must stay free; remove "
            "images (rocks list image), or set the attribute image_library to a larger file system"
        )


def _named(kind: str) -> str:
    return {"raw": "a raw image", "qcow2": "a qcow2 image", "iso": "an ISO"}[kind]


def _percent(what: str, total: int, progress: Progress) -> Callable[[int], None]:
    reported = 0

    def watch(done: int) -> None:
        nonlocal reported
        if done >= reported + _CHECK_EVERY_BYTES:
            reported = done
            progress(f"{what}: {gigabytes(done)} of {gigabytes(total)}")

    return watch
