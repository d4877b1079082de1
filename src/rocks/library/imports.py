"""Imports files into the library: unpacked piece by piece, continued after an interruption, stored as raw images."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import BusyError, Code, HostError, RocksError, ToolError, UserError
from rocks.core.files import SECRET, draft, ensure_folders, explain, rename_file, write_file
from rocks.core.image_blocks import BLOCK_BYTES, Content, content_of, data_blocks, write_block
from rocks.core.process import start_with_pipes
from rocks.core.terminal import one_line
from rocks.core.values import BYTES_PER_GB, BYTES_PER_SECTOR, gigabytes
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

_PIECE_BYTES = 1024**2


def unpacked_gzip(packed: io.RawIOBase) -> Iterator[bytes]:
    """The content of a gzip file, which is read to its end. UserError when it is damaged."""
    with gzip.GzipFile(fileobj=io.BufferedReader(packed, _PIECE_BYTES), mode="rb") as file:
        while True:
            try:
                piece = file.read(_PIECE_BYTES)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise UserError(f"it is damaged, or not whole: {error}") from None
            if not piece:
                return
            yield piece


def unpacked_zstd(packed: io.RawIOBase) -> Iterator[bytes]:
    """The content of a zstd file, which is read to its end, by the program zstd.

    UserError when it is damaged, ToolError without the program, and the errors of reading.
    """
    for piece, failure in _through(["zstd", "-q", "-d", "-c"], packed):
        if failure is not None:
            raise UserError(f"it is damaged, or not whole: {failure}")
        yield piece


def packed_zstd(content: io.RawIOBase) -> Iterator[bytes]:
    """The content packed by the program zstd. ToolError without it, or when it fails, and the errors of reading."""
    for piece, failure in _through(["zstd", "-q", "-c"], content):
        if failure is not None:
            raise ToolError(f"zstd cannot pack it: {failure}")
        yield piece


def _through(arguments: Sequence[str], file: io.RawIOBase) -> Iterator[tuple[bytes, str | None]]:
    """What the program makes of the file, piece by piece; at last why it failed, unless it did not."""
    process = start_with_pipes(arguments)
    assert process.stdin and process.stdout and process.stderr
    failed: list[RocksError] = []
    feeder = threading.Thread(target=_feed, args=(file, process.stdin, failed), daemon=True)
    feeder.start()
    try:
        while piece := process.stdout.read(_PIECE_BYTES):
            yield piece, None
        process.wait()
        feeder.join()
        if failed:
            raise failed[0]
        if process.returncode != 0:
            reason = one_line(process.stderr.read().decode("utf-8", "replace").strip())
            yield b"", reason or f"{arguments[0]} ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()
        feeder.join()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


UNPACKERS: dict[str, Callable[[io.RawIOBase], Iterator[bytes]]] = {
    "gzip": unpacked_gzip,
    "zstd": unpacked_zstd,
}
"""Kind of a packed file → its content."""


def _feed(packed: io.RawIOBase, pipe: IO[bytes], failed: list[RocksError]) -> None:
    """Write the whole file into the pipe; a reader that has ended stops it."""
    try:
        with contextlib.suppress(OSError):
            while piece := packed.read(_PIECE_BYTES):
                pipe.write(piece)
    except RocksError as error:
        failed.append(error)
    with contextlib.suppress(OSError):
        pipe.close()


# Imports that are not finished: what is written so far, and a journal of where to continue.
#
# The journal has a digest of the sources' names and identities; an import of other sources, or of changed ones, begins
# anew. Both files are root's, in the library. The content up to the journal's position is on the disk before the
# journal says so.
#
# Packed files are unpacked from their beginning again and compared, since no state of a hash or an unpacker can
# be stored. A copy of the file first, for its checksum, was refused: twice the space and time. Unfinished
# imports stay until a person removes them.
#
# When the library's file system is full, what is recorded stays, as after an interruption: how much space a
# packed image needs is not known before its end. Other errors leave nothing: they would be continued to the
# same end.


_CONTENT = ".import"
_JOURNAL = ".import.json"
_DOWNLOAD = ".download"
_LONGEST_JOURNAL_BYTES = 64 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)
_RECORD_EVERY_BYTES = 256 * 1024**2
_RECORD_EVERY_SECONDS = 10.0


class Leftover(NamedTuple):
    """An unfinished import: the name of its image, and the bytes that it takes."""

    name: str
    used_bytes: int


class UnfinishedImport:
    """What an import has written: an open file, and how much of it is right."""

    def __init__(self, path: Path, descriptor: int, origin: str) -> None:
        """`origin` stands for the sources."""
        self.path = path
        self.descriptor = descriptor
        self._origin = origin
        self.position = 0
        """The bytes that an earlier command has written, or this one has recorded."""
        self.is_read = False
        """Whether the sources were read to their end, and are what was stated."""
        self._next_bytes, self._next_seconds = _RECORD_EVERY_BYTES, 0.0
        self._continue()

    def note(self, position: int) -> None:
        """Record the position if much was written since the last record. OSError, HostError."""
        now = monotonic_seconds()
        if self._next_seconds == 0.0:
            self._next_seconds = now + _RECORD_EVERY_SECONDS
        if position >= self._next_bytes or now >= self._next_seconds:
            self.record(position, is_read=False)
            self._next_bytes, self._next_seconds = position + _RECORD_EVERY_BYTES, now + _RECORD_EVERY_SECONDS

    def record(self, position: int, *, is_read: bool) -> None:
        """Record that the content up to the position is right. OSError, HostError."""
        if os.fstat(self.descriptor).st_size < position:
            os.ftruncate(self.descriptor, position)
        os.fsync(self.descriptor)
        self.position, self.is_read = position, is_read
        text = json.dumps({"origin": self._origin, "position": position, "is_read": is_read})
        write_file(_journal(self.path), text, mode=SECRET)

    def become(self, target: Path) -> None:
        """Give the content its name in the library. OSError."""
        os.fsync(self.descriptor)
        rename_file(self.path, target)

    def discard(self) -> None:
        """Remove what there is of it. OSError."""
        _journal(self.path).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _continue(self) -> None:
        """Take over what an earlier import of the same sources has written; cut off the rest."""
        try:
            with _journal(self.path).open("rb") as file:
                values = json.loads(file.read(_LONGEST_JOURNAL_BYTES))
            position, is_read = values["position"], values["is_read"]
            is_ours = values["origin"] == self._origin and type(position) is int and type(is_read) is bool
        except (OSError, ValueError, KeyError, TypeError):
            is_ours = False
        if is_ours and 0 <= position <= os.fstat(self.descriptor).st_size:
            self.position, self.is_read = position, is_read
            self._next_bytes = position + _RECORD_EVERY_BYTES
        else:
            _journal(self.path).unlink(missing_ok=True)
        os.ftruncate(self.descriptor, self.position)


@contextmanager
def unfinished_import(library: Path, name: str, origin: dict[str, Any]) -> Iterator[UnfinishedImport]:
    """The unfinished import of the image, a new one or that of an earlier command.

    It is removed at the end. After an interruption, when a source cannot be read any more, and when the file system is
    full, what was recorded stays.
    BusyError while another command imports the image; OSError.
    """
    path = library / f".{name}{_CONTENT}"
    descriptor = _open_locked(path, name)
    try:
        digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
        unfinished = UnfinishedImport(path, descriptor, digest)
        try:
            yield unfinished
        except (RocksError, OSError) as error:
            if not (is_unfinished(library, name) and _may_continue(error)):
                unfinished.discard()
            raise
        unfinished.discard()
    finally:
        os.close(descriptor)


def is_unfinished(library: Path, name: str) -> bool:
    """Whether an import of the image can be continued."""
    path = library / f".{name}{_CONTENT}"
    return path.exists() and _journal(path).exists()


def _may_continue(error: BaseException) -> bool:
    """Whether nothing is wrong with what was read and written: the rest of it cannot be read, or written, now."""
    causes = (error, error.__cause__, error.__context__)
    return any(
        isinstance(one, SourceError | SpaceError) or (isinstance(one, OSError) and one.errno in _FULL)
        for one in causes
    )


def find_leftovers(library: Path) -> list[Leftover]:
    """The imports without a record, by name; those that run are among them. HostError for an unreadable folder."""
    found: dict[str, int] = {}
    try:
        for path in library.glob("*"):
            name = _name_of(path)
            if name and not (library / f"{name}.json").exists():
                for file in (path, *path.glob("*")):
                    with contextlib.suppress(FileNotFoundError):
                        found[name] = found.get(name, 0) + file.lstat().st_blocks * BYTES_PER_SECTOR
    except OSError as error:
        raise HostError(f"the image library {library} cannot be read: {error.strerror}") from None
    return [Leftover(name, used_bytes) for name, used_bytes in sorted(found.items())]


def remove_leftover(library: Path, name: str) -> bool:
    """Remove the unfinished import of the image; returns whether there was one. BusyError while it runs; HostError."""
    path, downloaded = library / f".{name}{_CONTENT}", download_folder(library, name)
    there = [one for one in (path, _journal(path), downloaded) if one.exists()]
    try:
        if path.exists():
            os.close(_open_locked(path, name))
        if downloaded.exists():
            shutil.rmtree(downloaded)
        for one in (_journal(path), path):
            one.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(
            f"the unfinished import of {name} cannot be removed: {explain(error, path)}"
        ) from None
    return bool(there)


def download_folder(library: Path, name: str) -> Path:
    """Where the parts of an image are brought before they are imported."""
    return library / f".{name}{_DOWNLOAD}"


def remove_finished_leftovers(library: Path) -> None:
    """Remove what is left of imports that were killed after their last step. OSError."""
    for path in (*library.glob(f".*{_CONTENT}*"), *library.glob(f".*{_DOWNLOAD}")):
        name = _name_of(path.with_name(path.name.removesuffix(".json")))
        if name and (library / f"{name}.json").exists():
            with contextlib.suppress(BusyError):
                remove_leftover(library, name)


def _name_of(path: Path) -> str:
    if path.name.startswith("."):
        name, dot, suffix = path.name[1:].rpartition(".")
        return name if f"{dot}{suffix}" in (_CONTENT, _DOWNLOAD) else ""
    return path.name.removesuffix(".img") if path.name.endswith(".img") else ""


def _journal(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_CONTENT) + _JOURNAL)


def _open_locked(path: Path, name: str) -> int:
    """The file, open and locked. Another command may remove it between its opening and its locking: then anew."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, SECRET)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(
                f"another command imports the image {name}; wait for it, or interrupt it"
            ) from None
        except FileNotFoundError:
            pass
        os.close(descriptor)


# Imports files into the library: joined, checked, unpacked, converted to a raw image without zeros, and recorded.
#
# What people gave is read by this process alone, once and in its order; tools see what was written into the library.
# What was written stays unfinished until it is complete.


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
        size = _fill(unfinished, sequence_of_blocks(UNPACKERS[kind](packed)), request)
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
            raise too_large(None, request.max_bytes)
        is_there = end <= begin and os.pread(unfinished.descriptor, len(block), offset) == block
        if not is_there and (offset < begin or block != _ZEROS[: len(block)]):
            space.count(len(block))
            write_block(unfinished.descriptor, offset, block)
        if end > begin:
            unfinished.note(end)
    return end


def sequence_of_blocks(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
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
        raise too_large(size_bytes, request.max_bytes)
    stated = stated_bytes(kind, read_at)
    if size < stated:
        raise UserError(f"it is cut off: it states {stated} bytes and has {size}; fetch it again")
    if size_bytes == 0:
        raise UserError("it is empty")
    if size_bytes < BYTES_PER_SECTOR:
        raise UserError(
            f"{size_bytes} bytes are no disk: the smallest has one sector, {BYTES_PER_SECTOR} bytes"
        )


def too_large(size_bytes: int | None, max_bytes: int) -> UserError:
    """The error for a disk of so many bytes; None where only more than the most is known."""
    size = f"more than {gigabytes(max_bytes)}" if size_bytes is None else gigabytes(size_bytes)
    return UserError(
        f"it is a disk of {size}, and {gigabytes(max_bytes)} is the most that is imported; if it is meant to be that "
        "large, give size=GB"
    )


def _named(kind: str) -> str:
    return {"raw": "a raw image", "qcow2": "a qcow2 image", "iso": "an ISO"}[kind]
