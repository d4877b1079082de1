"""The files of a roll become this user's: a foreign owner could change them after they were checked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rocks.core.errors import HostError
from rocks.core.files import PUBLIC, draft, remove_drafts
from rocks.install.rolls.manifest import check_manifest

_FOLDER = 0o755


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
            if not _is_ours(below, _FOLDER) and not below.is_symlink():
                os.chown(below, os.geteuid(), os.getegid(), follow_symlinks=False)
                below.chmod(_FOLDER)


def _is_ours(path: Path, mode: int) -> bool:
    status = path.lstat()
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == mode


def _replace_by_copy(path: Path, folder: Path) -> None:
    """The draft lies beside the roll: one that a killed run leaves in the roll would not be in its manifest."""
    with path.open("rb") as source, draft(path, mode=PUBLIC, beside=folder) as copy:
        while data := source.read(1 << 20):
            copy.write(data)
