"""The manifest of a roll: SHA256SUMS, the checksum of every other file of its folder, as `sha256sum -c` reads it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, UserError
from rocks.core.files import PUBLIC, draft, remove_drafts
from rocks.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.asc"
"""The signature of the manifest, beside it; `rocks.install.rolls.signatures` makes and verifies it."""

_UNLISTED = frozenset((MANIFEST, SIGNATURE))
_LONGEST_NAME = 200
_LARGEST_FILE_BYTES = 64 * 1024 * 1024
_PART = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_.+~^@-]*")
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_FOLDER = 0o755


def is_safe_path(path: str) -> bool:
    """Whether the path of a file in a roll is relative, stays below its folder, and needs no quoting."""
    return all(_PART.fullmatch(part) and len(part) <= _LONGEST_NAME for part in path.split("/"))


def manifest_text(folder: Path) -> str:
    """The manifest of a folder as it is. UserError for a link or a file name that a roll cannot have."""
    return "".join(
        f"{file_sha256(folder / path)}  {path}\n" for path in _files(folder) if path not in _UNLISTED
    )


def check_manifest(folder: Path, place: str) -> None:
    """UserError, with the file, unless exactly the files of the manifest exist, and are those it was made of."""
    expected = _read(folder, place)
    present = set(_files(folder)) - _UNLISTED
    for path in sorted(expected.keys() | present):
        if path not in present:
            raise UserError(f"{place} is damaged: {path} of its manifest {MANIFEST} is missing; get it again")
        if path not in expected:
            raise UserError(f"{place} is altered: its manifest {MANIFEST} does not name {path}; get it again")
        if file_sha256(folder / path) != expected[path]:
            raise UserError(
                f"{place} is damaged: {path} has another checksum than in {MANIFEST}; get it again"
            )


def same_content(one: Path, other: Path) -> bool:
    """Whether two folders, each checked against its manifest, have the same files."""
    try:
        return (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
    except OSError:
        return False


def _read(folder: Path, place: str) -> dict[str, str]:
    path = folder / MANIFEST
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE_BYTES:
            raise UserError(f"{place}: {MANIFEST} is not the manifest of a roll")
        text = path.read_text("ascii")
    except FileNotFoundError:
        raise UserError(f"{place} has no manifest {MANIFEST}; rocks create roll makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}: {MANIFEST} cannot be read: {error}; get it again") from None
    expected: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or not is_safe_path(match[2]) or match[2] in (*_UNLISTED, *expected):
            raise UserError(f"{place}: line {number} of {MANIFEST} is not valid: {printable(line)}")
        expected[match[2]] = match[1]
    return expected


def _files(folder: Path) -> Iterator[str]:
    """The paths of all files below a folder, sorted. UserError for anything that is neither file nor folder."""
    for path, names, files in os.walk(folder, onerror=_raise):
        names.sort()
        for name in sorted([*names, *files]):
            whole = folder.__class__(path, name)
            relative = str(whole.relative_to(folder))
            if not is_safe_path(relative):
                raise UserError(
                    f"{printable(relative)} cannot be in a roll: give it a name of letters, digits and . _ + ~ ^ @ -"
                )
            if whole.is_symlink() or not (whole.is_dir() or whole.is_file()):
                raise UserError(
                    f"{printable(relative)} is neither a file nor a folder; a roll has only these"
                )
            if name in files:
                yield relative


def _raise(error: OSError) -> None:
    raise HostError(f"cannot read {error.filename}: {error.strerror}")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. HostError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from None


def take_over(folder: Path, place: str) -> None:
    """Check the roll in `folder` against its manifest, and make its folders (0755) and files (0644) this user's.

    A file with another owner or mode is replaced by a copy, since that owner may have it open; the copies are checked
    again. Repeated, it changes nothing. Errors as of `check_manifest`, which names the roll by `place`; HostError when
    a file cannot be replaced.
    """
    try:
        remove_drafts(folder)
        _take_folders(folder)
        check_manifest(folder, place)  # also: no link, nothing that is not the roll's
        foreign = [Path(path, name) for path, _, files in os.walk(folder) for name in files]
        foreign = [path for path in foreign if not _is_ours(path, PUBLIC)]
        for path in foreign:
            _replace_by_copy(path, folder)
    except OSError as error:
        raise HostError(
            f"the files of {place} cannot be made root's: {error.strerror} ({error.filename}); repeat the command"
        ) from None
    if foreign:
        check_manifest(folder, place)


def _take_folders(folder: Path) -> None:
    """From the top, so that nobody else can exchange what is below. OSError."""
    if not folder.is_dir() or folder.is_symlink():
        return  # the check of the manifest reports it
    for path, folders, _ in os.walk(folder):
        for below in (Path(path), *(Path(path, name) for name in folders)):
            take_folder(below)


def take_folder(folder: Path) -> None:
    """Make one folder this user's, with the mode 0755; a link stays as it is. OSError."""
    if not _is_ours(folder, _FOLDER) and not folder.is_symlink():
        os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
        folder.chmod(_FOLDER)


def _is_ours(path: Path, mode: int) -> bool:
    status = path.lstat()
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == mode


def _replace_by_copy(path: Path, folder: Path) -> None:
    """The draft lies beside the roll: one that a killed run leaves in the roll would not be in its manifest."""
    with path.open("rb") as source, draft(path, mode=PUBLIC, beside=folder) as copy:
        while data := source.read(1 << 20):
            copy.write(data)
