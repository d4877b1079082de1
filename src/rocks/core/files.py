"""Files and folders of the system: the one writer of files.

A file is written as a draft beside it: made with mode 0600, then owned and readable as requested, then filled, put on
the disk and renamed. So a reader, a killed writer and a power failure leave the old content or the new, and a secret is
never readable by others. The draft is locked while its writer lives; the next writer of the file removes the drafts of
killed writers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import (
    BinaryIO,
    Container,
    Iterable,
    Iterator,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Union,
    cast,
)

from rocks.core import dry_run
from rocks.core.errors import HostError

SECRET = 0o600
"""Mode of a file that only its owner reads."""

PUBLIC = 0o644
"""Mode of a file that every user reads."""

_UNFINISHED = ".unfinished-"
_FILES_NAMED = 4
_FILES_AT_ONCE = 100
"""Open files, of the 1,024 that a process may have."""


class Draft(NamedTuple):
    """A new file, open for writing, that has no content yet."""

    path: Path
    descriptor: int

    def write(self, content: Union[str, bytes]) -> None:
        """Append the content; text as UTF-8."""
        left = memoryview(content.encode("utf-8") if isinstance(content, str) else content)
        while left:
            left = left[os.write(self.descriptor, left) :]


def open_plain(path: Union[str, Path], flags: int = 0) -> BinaryIO:
    """Open a file whose path anybody may have chosen; never waits. OSError, also for what is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    except ValueError as error:  # a byte 0 in the path
        raise OSError(errno.EINVAL, str(error)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a file")
    return os.fdopen(descriptor, "rb")


def unnamed_file(folder: Path) -> BinaryIO:
    """A file to write and read that has no name and ends with its last descriptor, also when this process is killed.

    It is on the file system of the folder, or of the one above that exists. OSError, which names the folder.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    import tempfile  # late: few need it

    try:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))
    except OSError as error:
        error.filename = str(folder)
        raise


def text_if_readable(path: Path) -> str:
    """The text of a file without white space at its ends; empty when it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def write_file(
    path: Path, content: Union[str, bytes], *, mode: int = SECRET, group: Optional[int] = None
) -> None:
    """Replace the file, or make it. HostError when it cannot be written; the old content stays then."""
    if dry_run.is_on():
        _would_write(path.parent, {path.name: content})
        return
    try:
        with draft(path, mode=mode, group=group) as new:
            new.write(content)
    except OSError as error:
        raise HostError(f"cannot write {path}: {explain(error, path)}") from None


def write_files(folder: Path, contents: Mapping[str, Union[str, bytes]], *, mode: int = SECRET) -> None:
    """As `write_file` for each name of the folder, in less time: they are put on the disk many at once.

    HostError when one cannot be written; files before it in the order of the names may be new then.
    """
    if dry_run.is_on():
        _would_write(folder, contents)
        return
    names = list(contents)
    try:
        _remove_all(_leftovers(folder, contents))
        for begin in range(0, len(names), _FILES_AT_ONCE):
            _write_part(
                folder, {name: contents[name] for name in names[begin : begin + _FILES_AT_ONCE]}, mode
            )
        if names:
            sync_folder(folder)
    except OSError as error:
        raise HostError(f"cannot write files in {folder}: {explain(error, folder)}") from None


def _would_write(folder: Path, contents: Mapping[str, Union[str, bytes]]) -> None:
    """In a dry run: print which of the files would get another content."""
    changed = [
        str(folder / name) for name, content in contents.items() if not has_content(folder / name, content)
    ]
    if changed:
        named = ", ".join(changed[:_FILES_NAMED])
        more = len(changed) - _FILES_NAMED
        dry_run.would(dry_run.HERE, f"write {named}" + (f" and {more} more files" if more > 0 else ""))


def has_content(path: Path, content: Union[str, bytes]) -> bool:
    """Whether the file has exactly this content, text as UTF-8; not one that cannot be read."""
    expected = content.encode("utf-8") if isinstance(content, str) else content
    try:
        return path.stat().st_size == len(expected) and path.read_bytes() == expected
    except OSError:
        return False


def _write_part(folder: Path, contents: Mapping[str, Union[str, bytes]], mode: int) -> None:
    with contextlib.ExitStack() as at_end:
        new = {name: at_end.enter_context(_new_draft(folder / name, mode, None)) for name in contents}
        for name, one in new.items():
            one.write(contents[name])
        for one in new.values():  # after all are written: the first takes most of the others along
            os.fsync(one.descriptor)
        for name, one in new.items():
            one.path.replace(folder / name)


def explain(error: OSError, path: Path) -> str:
    """Why a file or folder could not be used, and what to do about it."""
    reason = error.strerror or str(error)
    remedy, place = _REMEDIES.get(error.errno or 0), _obstacle(path)
    if remedy == _MOVE and (place.is_char_device() or place.is_block_device()):
        remedy = "{place} is a device; give another path"
    return f"{reason}; {remedy.format(place=place, folder=path.parent)}" if remedy else reason


def file_error(error: OSError) -> Optional[HostError]:
    """The error of an operation on a file that the operating system refused; None when it names no file."""
    if error.errno is None or not isinstance(error.filename, (str, bytes)):
        return None
    path = Path(os.fsdecode(error.filename))
    return HostError(f"cannot use {path}: {explain(error, path)}")


_MOVE = "another kind of file is in this place; move it away: mv {place} {place}.old"
_REMEDIES = {
    errno.ENOSPC: "free space on that file system (df -h {folder})",
    errno.EDQUOT: "free space within the quota of that file system (df -h {folder})",
    errno.EROFS: "mount that file system writable (findmnt -T {folder})",
    errno.ENOTDIR: _MOVE,
    errno.EISDIR: _MOVE,
    errno.EEXIST: _MOVE,
    errno.ENOTEMPTY: _MOVE,
    errno.ELOOP: _MOVE,
}


def _obstacle(path: Path) -> Path:
    """The first folder on the way that is none, else the path itself."""
    for folder in reversed(path.parents):
        if os.path.lexists(folder) and not folder.is_dir():
            return folder
    return path


@contextlib.contextmanager
def draft(
    path: Path,
    *,
    mode: int = SECRET,
    group: Optional[int] = None,
    replace: bool = True,
    beside: Optional[Path] = None,
) -> Iterator[Draft]:
    """A draft that becomes the file at the end of the block, on the disk; an exception discards it.

    Without `replace` an existing file stays, and FileExistsError is raised. The draft is named after `beside` and lies
    in its folder, which is on the same file system, where the file's own folder may hold nothing else. OSError, which
    names a file.
    """
    if dry_run.would(dry_run.HERE, f"write {path}"):
        with _nothing() as descriptor:
            yield Draft(path, descriptor)
        return
    place = beside or path
    remove_drafts(place)
    try:
        with _new_draft(place, mode, group) as new:
            yield new
            os.fsync(new.descriptor)
            if replace:
                new.path.replace(path)
            else:
                os.link(new.path, path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)  # of an operation on the descriptor
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def _nothing() -> Iterator[int]:
    """A descriptor that takes everything and stores nothing."""
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _new_draft(place: Path, mode: int, group: Optional[int]) -> Iterator[Draft]:
    """A draft, which is removed at the end of the block unless it was renamed."""
    new = _open_draft(place)
    try:
        if group is not None:
            os.fchown(new.descriptor, -1, group)
        os.fchmod(new.descriptor, mode)
        yield new
    finally:
        with contextlib.suppress(FileNotFoundError):
            new.path.unlink()
        os.close(new.descriptor)


def remove_drafts(path: Path) -> None:
    """Remove the drafts of this file that killed writers left; a draft whose writer lives is locked, and stays."""
    if not dry_run.is_on():
        _remove_all(_leftovers(path.parent, (path.name,)))


def _remove_all(drafts: Iterable[Path]) -> None:
    for leftover in drafts:
        try:
            # it may be a FIFO, or a link of another user to a device, of which opening alone has effects
            descriptor = os.open(leftover, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # renamed or removed in the meantime, or another user's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
        except (BlockingIOError, FileNotFoundError, IsADirectoryError):
            pass  # its writer lives, or it has just been renamed or removed
        finally:
            os.close(descriptor)


def rename_file(path: Path, target: Path) -> None:
    """Rename a file; the new name survives a power failure. OSError."""
    if dry_run.would(dry_run.HERE, f"rename {path} to {target}"):
        return
    path.replace(target)
    for folder in {target.parent, path.parent}:
        sync_folder(folder)


def remove_file(path: Path) -> None:
    """Remove a file if there is one. OSError."""
    if dry_run.is_on():
        if path.exists() or path.is_symlink():
            dry_run.would(dry_run.HERE, f"remove {path}")
        return
    path.unlink(missing_ok=True)


def ensure_folders(path: Path, mode: int) -> None:
    """Make the folder and those above it where missing, with this mode whatever the umask. OSError."""
    if path.is_dir() or dry_run.would(dry_run.HERE, f"make the folder {path}"):
        return
    ensure_folders(path.parent, mode)
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return  # another process has just made it
    path.chmod(mode)


def sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_draft(path: Path) -> Draft:
    """A new draft, open and locked.

    Another process may remove it between its making and its locking, as a leftover; then another one is made.
    """
    while True:
        unfinished = path.with_name(f".{path.name}{_UNFINISHED}{os.getpid()}-{os.urandom(4).hex()}")
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink == 1:
            return Draft(unfinished, descriptor)
        os.close(descriptor)


def _leftovers(folder: Path, names: Container[str]) -> Tuple[Path, ...]:
    """The drafts of the files of these names."""
    try:
        entries = os.listdir(folder)  # noqa: PTH208 - names are enough, of thousands of files
    except OSError:
        return ()  # making the draft reports the folder's error
    found = ((entry, entry.rpartition(_UNFINISHED)[0]) for entry in entries if _UNFINISHED in entry)
    return tuple(folder / entry for entry, before in found if before.startswith(".") and before[1:] in names)
