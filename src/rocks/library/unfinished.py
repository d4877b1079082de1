"""Imports that are not finished: what is written so far, and a journal of where to continue.

The journal has a digest of the sources' names and identities; an import of other sources, or of changed ones, begins
anew. Both files are root's, in
the library. The content up to the position of the journal is on the disk before the journal says so.

Packed files are unpacked from their beginning again and compared, since no state of a hash or an unpacker can
be stored. A copy of the file first, for its checksum, was refused: twice the space and time. Unfinished
imports stay until a person removes them.

When the library's file system is full, what is recorded stays, as after an interruption: how much space a
packed image needs is not known before its end. Other errors leave nothing: they would be continued to the
same end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import BusyError, HostError, RocksError
from rocks.core.files import SECRET, explain, rename_file, write_file
from rocks.core.units import BYTES_PER_SECTOR
from rocks.library.conversion import SpaceError
from rocks.library.sources import SourceError

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
