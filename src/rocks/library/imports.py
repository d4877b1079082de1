"""Imports files into the library: joined, checked, unpacked, converted to a raw image without zeros, and recorded.

What people gave is read by this process alone, once and in its order; tools see what was written into the library.
What was written stays unfinished until it is complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rocks.core.errors import Code, HostError, UserError
from rocks.core.files import draft, ensure_folders, explain
from rocks.core.image_blocks import BLOCK_BYTES, Content, content_of, data_blocks, write_block
from rocks.core.terminal import one_line
from rocks.core.units import BYTES_PER_GB, BYTES_PER_SECTOR, gigabytes
from rocks.library.conversion import SpaceError, SpaceWatch, check_space, convert_qcow2
from rocks.library.headers import FileKind, ReadAt, kind_of, qcow2_size, reader_of, stated_bytes
from rocks.library.progress import Meter, Progress
from rocks.library.records import (
    ImageFormat,
    LibraryImage,
    check_new,
    image_file,
    remove_leftovers,
    write_new_record,
)
from rocks.library.sources import SequentialReader, SourceError, Sources
from rocks.library.unfinished import (
    UnfinishedImport,
    is_unfinished,
    remove_finished_leftovers,
    unfinished_import,
)
from rocks.library.unpacking import UNPACKERS

FORMATS = ("raw", "qcow2", "iso")
"""What may be stated as the format of an image, packed or not."""

_PART_BLOCK_BYTES = 1024**2
_ZEROS = bytes(BLOCK_BYTES)

Blocks = Iterable[tuple[int, bytes]]
"""(offset, block), in their order."""


class ImportRequest(NamedTuple):
    """What is imported: the name, the file or its parts, and what is known of it beforehand.

    `checksum` is the SHA-256 of the file, or of its parts joined, in hexadecimal, `part_checksums` has one of each
    part or nothing; `format` is one of `FORMATS`. An image larger than `max_gb` is refused, whatever its file states.
    """

    name: str
    files: tuple[Path, ...]
    max_gb: int
    checksum: str | None = None
    format: str | None = None
    comment: str = ""
    part_checksums: tuple[str, ...] = ()

    @property
    def max_bytes(self) -> int:
        """The size of the largest image."""
        return self.max_gb * BYTES_PER_GB


def import_image(library: Path, request: ImportRequest, progress: Progress) -> LibraryImage:
    """Import the file; `progress` gets a line now and then.

    UserError for a file that is no image, is not what was stated, or is too large; StateError when the image exists;
    HostError when the library cannot be written. Then nothing is left. After an interruption, and when the file system
    was full, the same import continues.
    """
    check_new(library, request.name)
    named = str(request.files[0]) if len(request.files) == 1 else f"the image {request.name}"
    target = image_file(library, request.name)
    try:
        with Sources(request.files) as sources:
            if request.checksum is None and not request.part_checksums:
                sources.check_sizes()
            ensure_folders(library, 0o755)
            remove_leftovers(library)
            remove_finished_leftovers(library)
            origin: dict[str, object] = {
                "files": [file.lasting for file in sources.files],
                "checksum": request.checksum,
            }
            if request.part_checksums:
                origin["parts"] = request.part_checksums
            with unfinished_import(library, request.name, origin) as unfinished:
                if not unfinished.is_read:
                    _read(sources, unfinished, request, progress)
                imported = _store(unfinished, request, target, progress)
                write_new_record(library, imported)
    except UserError as error:
        raise UserError(f"{named} is not imported: {error}", code=Code.FILE_REJECTED) from None
    except SourceError as error:
        raise HostError(
            f"the image {request.name} is not imported: {error}; repeat the command when it can be read again"
        ) from None
    except SpaceError as error:
        rest = _continued(library, request.name)
        message = f"the image {request.name} is not imported: {error}{rest}"
        raise HostError(message, code=Code.POOL_FULL) from None
    except OSError as error:
        rest = _continued(library, request.name)
        raise HostError(f"the image {request.name} is not imported: {explain(error, target)}{rest}") from None
    return imported


def _continued(library: Path, name: str) -> str:
    """What an error adds when the import can be continued."""
    if not is_unfinished(library, name):
        return ""
    return (
        f"; then repeat the command, which continues, or give up what was written: rocks remove image {name}"
    )


def _read(sources: Sources, unfinished: UnfinishedImport, request: ImportRequest, progress: Progress) -> None:
    """Write the sources into the library, joined and unpacked, from where an earlier command ended."""
    _check_parts(sources, request, progress)
    kind = kind_of(sources.read_at, is_raw=request.format == "raw")
    digest = None if request.checksum is None else hashlib.sha256()
    if kind in UNPACKERS:
        meter = Meter(progress, request.name, sources.size_bytes)

        def watch(data: bytes) -> None:
            meter.count(len(data))
            if digest is not None:
                digest.update(data)

        packed = SequentialReader(sources.read_at, watch)
        size = _fill(unfinished, _sequence(UNPACKERS[kind](packed)), request)
        if packed.offset != sources.size_bytes:
            raise UserError("it is damaged, or not whole: other data follow its end")
    else:
        _check_plain(kind, sources.size_bytes, sources.read_at, request)
        meter = Meter(
            progress, request.name, sources.data_bytes, min(unfinished.position, sources.data_bytes)
        )
        check_space(unfinished.path.parent, max(0, sources.data_bytes - unfinished.position))
        blocks: Blocks = _counted(sources.blocks(unfinished.position), meter)
        if digest is not None:
            blocks = _hashed(blocks, unfinished, sources.size_bytes, digest.update)
        _fill(unfinished, blocks, request)
        size = sources.size_bytes
    sources.check_unchanged()
    if digest is not None and digest.hexdigest() != request.checksum:
        raise UserError(f"its SHA-256 is {digest.hexdigest()}, not {request.checksum}; fetch it again")
    os.ftruncate(unfinished.descriptor, size)
    unfinished.record(size, is_read=True)


def _check_parts(sources: Sources, request: ImportRequest, progress: Progress) -> None:
    """UserError for the first part that has another SHA-256 than the one stated."""
    begin = 0
    for file, expected in zip(
        sources.files if request.part_checksums else (), request.part_checksums, strict=True
    ):
        meter, digest = Meter(progress, f"the SHA-256 of {file.path}", file.size_bytes), hashlib.sha256()
        end = begin + file.size_bytes
        while begin < end:
            data = sources.read_at(begin, min(_PART_BLOCK_BYTES, end - begin))
            digest.update(data)
            meter.count(len(data))
            begin += len(data)
        if digest.hexdigest() != expected:
            raise UserError(
                f"the SHA-256 of its part {one_line(file.path)} is {digest.hexdigest()}, not {expected}; fetch it again"
            )


def _counted(blocks: Blocks, meter: Meter) -> Iterator[tuple[int, bytes]]:
    for offset, block in blocks:
        meter.count(len(block))
        yield offset, block


def _hashed(
    blocks: Blocks, unfinished: UnfinishedImport, size: int, update: Callable[[bytes], None]
) -> Iterator[tuple[int, bytes]]:
    """The blocks; `update` gets the whole content: what was written earlier, the blocks, and zeros between them."""
    done = 0

    def zeros_until(offset: int) -> None:
        nonlocal done
        while done < offset:
            count = min(BLOCK_BYTES, offset - done)
            update(_ZEROS[:count])
            done += count

    for offset, block in data_blocks(unfinished.descriptor):
        zeros_until(offset)
        update(block)
        done += len(block)
    zeros_until(unfinished.position)
    for offset, block in blocks:
        zeros_until(offset)
        update(block)
        done += len(block)
        yield offset, block
    zeros_until(size)


def _fill(unfinished: UnfinishedImport, blocks: Blocks, request: ImportRequest) -> int:
    """Write the blocks, and stop before the image is too large or the file system is full; returns where they end.

    Blocks that an earlier command wrote are compared, since what is unpacked comes from the beginning again.
    """
    begin, end = unfinished.position, 0
    space = SpaceWatch(lambda written: check_space(unfinished.path.parent))
    for offset, block in blocks:
        end = offset + len(block)
        if end > request.max_bytes:
            raise _too_large(f"more than {gigabytes(request.max_bytes)}", request.max_bytes)
        is_there = end <= begin and os.pread(unfinished.descriptor, len(block), offset) == block
        if not is_there and (offset < begin or block != _ZEROS[: len(block)]):
            space.count(len(block))
            write_block(unfinished.descriptor, offset, block)
        if end > begin:
            unfinished.note(end)
    return end


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


def _store(
    unfinished: UnfinishedImport, request: ImportRequest, target: Path, progress: Progress
) -> LibraryImage:
    """Give the image its name in the library: what was read, or what it is converted to."""
    size, read_at = os.fstat(unfinished.descriptor).st_size, reader_of(unfinished.descriptor)
    kind = kind_of(read_at, is_raw=request.format == "raw")
    if kind in UNPACKERS:
        raise UserError("it is packed twice; unpack it first")
    _check_plain(kind, size, read_at, request)
    if kind == "qcow2":
        with draft(target) as image:
            convert_qcow2(unfinished.path, image.path, request.max_bytes, progress)
            content = _complete(image.descriptor, progress)
    else:
        os.ftruncate(unfinished.descriptor, -(-size // BYTES_PER_SECTOR) * BYTES_PER_SECTOR)
        content = _complete(unfinished.descriptor, progress)
        unfinished.become(target)
    stored_as: ImageFormat = "iso" if kind == "iso" else "raw"
    return LibraryImage(request.name, stored_as, *content, request.checksum or "", request.comment)


def _complete(descriptor: int, progress: Progress) -> Content:
    """What the image holds. UserError for one that is empty."""
    if next(data_blocks(descriptor), None) is None:
        raise UserError("it has no data: all of it is zeros")
    meter = Meter(progress, "its digest", os.fstat(descriptor).st_blocks * BYTES_PER_SECTOR)
    return content_of(descriptor, meter.reach)


def _check_plain(kind: FileKind, size: int, read_at: ReadAt, request: ImportRequest) -> None:
    """UserError for what is not of the stated format, is empty, refers to other files, or is too large."""
    if request.format is not None and request.format != kind:
        raise UserError(f"it is {_named(kind)}, not {_named(request.format)}")
    size_bytes = qcow2_size(read_at) if kind == "qcow2" else size
    if size_bytes > request.max_bytes:
        raise _too_large(gigabytes(size_bytes), request.max_bytes)
    stated = stated_bytes(kind, read_at)
    if size < stated:
        raise UserError(f"it is cut off: it states {stated} bytes and has {size}; fetch it again")
    if size_bytes == 0:
        raise UserError("it is empty")
    if size_bytes < BYTES_PER_SECTOR:
        raise UserError(
            f"{size_bytes} bytes are no disk: the smallest has one sector, {BYTES_PER_SECTOR} bytes"
        )


def _too_large(size: str, max_bytes: int) -> UserError:
    return UserError(
        f"it is a disk of {size}, and {gigabytes(max_bytes)} is the most that is imported; if it is meant to be that "
        "large, give size=GB"
    )


def _named(kind: str) -> str:
    return {"raw": "a raw image", "qcow2": "a qcow2 image", "iso": "an ISO"}[kind]
