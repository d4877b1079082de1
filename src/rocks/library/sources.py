"""Files and folders of people as sources of images; no link of another user is followed.

Root reads files below folders of people. Who may write to one of these folders can put a link in its place, at any
moment. So each name on the way is opened in the folder before it, and what is opened stays open.
"""

from __future__ import annotations

import bisect
import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, UserError
from rocks.core.image_blocks import data_blocks
from rocks.core.terminal import one_line
from rocks.core.values import BYTES_PER_SECTOR

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer


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


# Files of people that are read as one: an image, or its parts in their order.
#
# Each is a plain file that is opened without following a link of its name, or of another user on its way, and stays the
# same file until the end. Thousands of parts are not open at once.


MAX_PARTS = 10_000


class SourceError(HostError):
    """A file that cannot be read any more; what was read of it may be continued later."""


class Identity(NamedTuple):
    """Which file it is, and which content it has: a changed file has another time of change, which nobody can set."""

    path: str
    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int

    @property
    def lasting(self) -> tuple[str, int, int, int, int]:
        """What it is after a reboot as well, which may number devices anew."""
        return self.path, self.inode, self.size_bytes, self.modified_ns, self.changed_ns


def find_parts(text: str) -> tuple[Path, ...]:
    """The files that `text` names: a file, `FILE,FILE,…`, or a folder of parts.

    A further file without a slash is in the folder of the first. UserError for a folder whose files have no order.
    """
    path = Path(text).absolute()
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        is_folder = False  # its opening states what it is
    if is_folder:
        return _parts_of(path)
    if "," not in text or os.path.lexists(path):
        return (path,)
    first, *others = text.split(",")
    if not all((first, *others)):
        raise UserError(f"file={one_line(text)[:200]} has an empty name between its commas")
    folder = Path(first).absolute().parent
    return (
        Path(first).absolute(),
        *(Path(one).absolute() if "/" in one else folder / one for one in others),
    )


def _parts_of(folder: Path) -> tuple[Path, ...]:
    try:
        names = names_in(folder)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}") from None
    if not names:
        raise UserError(f"the folder {folder} has no parts of an image")
    other = next((name for name in names if len(name) != len(names[0])), None)
    if other is not None:
        raise UserError(
            f"the order of the parts in {folder} is not clear: {one_line(names[0])} and {one_line(other)} are not of "
            "one length; move away what is no part, or give the parts in their order: file=FOLDER/PART,PART,…"
        )
    return tuple(folder / name for name in names)


class Sources:
    """Files that are read as one; closed at the end of the `with`.

    UserError for what is no plain file, is there twice, or changes meanwhile; SourceError for what cannot be read.
    """

    def __init__(self, paths: tuple[Path, ...]) -> None:
        if len(paths) > MAX_PARTS:
            raise UserError(
                f"there are {len(paths)} parts, and at most {MAX_PARTS} are possible; join them first: cat"
            )
        self._open_index, self._descriptor = -1, -1
        self._folder, self._folder_path = -1, Path()
        self._paths = paths
        self.files: list[Identity] = []
        self._starts: list[int] = []
        self.size_bytes = 0
        self.data_bytes = 0
        for index in range(len(paths)):
            self._add(index)
        if len({(file.device, file.inode) for file in self.files}) < len(self.files):
            self.close()
            raise UserError("the same part is given twice")

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and the folder that are open."""
        self._close()
        if self._folder >= 0:
            os.close(self._folder)
        self._folder = -1

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes at the offset; fewer only at the end."""
        found = b""
        while len(found) < length and offset < self.size_bytes:
            index = bisect.bisect_right(self._starts, offset) - 1
            with _reading(self._paths[index]):
                data = os.pread(self._open(index), length - len(found), offset - self._starts[index])
            if not data:
                raise _changed(self._paths[index])
            found, offset = found + data, offset + len(data)
        return found

    def blocks(self, begin: int = 0) -> Iterator[tuple[int, bytes]]:
        """(offset, block) of all data that are not zero, from the end of an earlier block on; holes are not read."""
        for index, file in enumerate(self.files):
            start = self._starts[index]
            if start + file.size_bytes <= begin:
                continue
            with _reading(self._paths[index]):
                for offset, block in data_blocks(self._open(index), max(0, begin - start)):
                    yield start + offset, block

    def check_unchanged(self) -> None:
        """UserError unless all files are what they were at the beginning."""
        for index in range(len(self.files)):
            self._close()
            self._open(index)

    def check_sizes(self) -> None:
        """UserError when a part is not as long as those before it, as one that was not fetched to its end is."""
        sizes = [file.size_bytes for file in self.files]
        empty = next((file for file in self.files if file.size_bytes == 0), None)
        if empty is not None and len(sizes) > 1:
            raise UserError(f"the part {one_line(empty.path)} is empty; fetch it again")
        for file in self.files[1:-1]:
            if file.size_bytes != sizes[0]:
                raise self._odd(file)
        if len(sizes) > 1 and sizes[-1] > sizes[0]:
            raise self._odd(self.files[-1])

    def _odd(self, file: Identity) -> UserError:
        first = self.files[0]
        return UserError(
            f"the part {one_line(file.path)} has {file.size_bytes} bytes, and {one_line(first.path)} has "
            f"{first.size_bytes}: one may not be whole, or the order is wrong. If they are right, give checksum=, the "
            "SHA-256 of all parts joined or, separated by commas, of each"
        )

    def _add(self, index: int) -> None:
        status = os.fstat(self._open(index))
        self.files.append(_identity(self._paths[index], status))
        self._starts.append(self.size_bytes)
        self.size_bytes += status.st_size
        self.data_bytes += min(status.st_size, status.st_blocks * BYTES_PER_SECTOR)

    def _open(self, index: int) -> int:
        """The descriptor of the file, which is the one that was there at the beginning."""
        if self._open_index == index:
            return self._descriptor
        self._close()
        path = self._paths[index]
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(path.name or ".", flags, dir_fd=self._folder_of(path))
        except OSError as error:
            raise UserError(f"{_named(path, self._paths)}{_reason(error)}") from None
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self._close()
            raise UserError(f"{_named(path, self._paths)}it is not a file")
        if index < len(self.files) and _identity(path, status) != self.files[index]:
            self._close()
            raise _changed(path)
        self._open_index = index
        return self._descriptor

    def _folder_of(self, path: Path) -> int:
        if self._folder < 0 or self._folder_path != path.parent:
            if self._folder >= 0:
                os.close(self._folder)
                self._folder = -1
            self._folder, self._folder_path = open_folder(path.parent), path.parent
        return self._folder

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._open_index, self._descriptor = -1, -1


class SequentialReader(io.RawIOBase):
    """Reads from the beginning to the end; `watch` gets all that is read.

    `read_at(offset, length)` returns fewer bytes only at the end, and raises a RocksError for what cannot be read.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], watch: Callable[[bytes], None]) -> None:
        super().__init__()
        self._read_at, self._watch = read_at, watch
        self.offset = 0
        """The bytes that were read."""

    def readable(self) -> bool:
        """A file is readable."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer with the next bytes; 0 at the end."""
        view = memoryview(buffer)
        data = self._read_at(self.offset, len(view))
        view[: len(data)] = data
        self.offset += len(data)
        self._watch(data)
        return len(data)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """An error of the operating system on this file is one of the source."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    except HostError as error:
        raise error if isinstance(error, SourceError) else _changed(path) from None


def _identity(path: Path, status: os.stat_result) -> Identity:
    return Identity(
        str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def _changed(path: Path) -> UserError:
    return UserError(
        f"{one_line(str(path))} was changed while it was read; repeat the command when it is complete"
    )


def _reason(error: OSError) -> str:
    return (
        "it is a symbolic link; give its target"
        if error.errno == errno.ELOOP
        else error.strerror or str(error)
    )


def _named(path: Path, paths: tuple[Path, ...]) -> str:
    """The part, where there are several."""
    return f"{one_line(str(path))}: " if len(paths) > 1 else ""
