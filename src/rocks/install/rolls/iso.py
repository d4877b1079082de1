"""ISO images of rolls, read by xorriso without mounting them.

A file on an ISO may have any name, and may be a link; therefore an image is listed and checked before anything of it
is extracted, and only the folders of rolls are.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, UserError
from rocks.install.rolls.checksums import is_safe_path
from rocks.install.rolls.description import RollId
from rocks.library.headers import reader_of, stated_bytes
from rocks.library.xorriso import failure_of, run_xorriso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.core.process import Finished

_SECONDS = 7200
_BLOCK_BYTES = 2048
_DESCRIPTOR = re.compile(r"'/([^/']+)/([^/']+)/([^/']+)/roll-([^/']+)\.xml'")
_LISTED = re.compile(r"(\S)\S{9}\S*\s+\d+\s+\d+\s+\d+\s+(\d+)\s+\S+\s+\S+\s+\S+\s+'/(.*?)'(?: -> .*)?")


def find_rolls(iso: Path) -> list[RollId]:
    """The rolls on an image, each a folder NAME/VERSION/ARCH with roll-NAME.xml.

    UserError for an image that does not exist, is no ISO, is cut off, or has no roll.
    """
    _check_image(iso)
    done = _read(iso, ["-find", "/", "-name", "roll-*.xml", "--"])
    found = {
        RollId(*match.groups()[:3])
        for line in done.text.splitlines()
        if (match := _DESCRIPTOR.fullmatch(line)) and match[4] == match[1]
    }
    rolls = sorted(roll for roll in found if is_safe_path("/".join(roll)))
    if done.exit_status != 0 or not rolls:
        raise UserError(
            f"{iso} is not the ISO of a roll: it has no NAME/VERSION/ARCH/roll-NAME.xml; rocks create roll makes one"
        )
    return rolls


def extract_roll(iso: Path, roll: RollId, folder: Path) -> None:
    """Extract the folder of one roll to `folder`, which must not exist.

    UserError, with nothing extracted, for links, devices, names that leave the folder, and files that together are
    larger than the image. The files are this user's: an image states owners, too, and a local user could be one.
    """
    source = "/" + "/".join(roll)
    needed, free = _check_listing(iso, source), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise HostError(
            f"the roll {roll} needs {_mb(needed)} MB in {folder.parent.parent}, and {_mb(free)} MB are free: "
            "remove files there, then repeat the command"
        )
    done = _read(iso, ["-osirrox", "on", "-extract", source, str(folder)])
    if os.strerror(errno.ENOSPC) in done.error_text:  # many small files take more than their bytes
        raise HostError(
            f"the file system of {folder.parent.parent} became full with the roll {roll}: remove files there, then "
            "repeat the command"
        )
    if done.exit_status != 0 or folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{iso} is damaged: {failure_of(done)}; get it again")
    try:
        for path, folders, files in os.walk(folder):
            _take_over(Path(path), 0o755)
            for name in (*folders, *files):
                # the image may have been exchanged since it was listed, and a link leads out of the folder
                kind = Path(path, name).lstat().st_mode
                if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
                    raise UserError(f"{iso} was altered while it was read; get it again")
            for name in files:
                _take_over(Path(path, name), 0o644)
    except OSError as error:
        raise HostError(f"cannot use what was extracted to {folder}: {error.strerror}") from None


def _take_over(path: Path, mode: int) -> None:
    """Give this user a file or folder, then the mode. OSError."""
    os.chown(path, os.geteuid(), os.getegid())
    path.chmod(mode)


def _check_listing(iso: Path, source: str) -> int:
    """The bytes of all files below a folder of the image. Errors as of `extract_roll`."""
    done = _read(iso, ["-find", source, "-exec", "lsdl", "--"])
    total = 0
    for line in done.text.splitlines():
        match = _LISTED.fullmatch(line)
        if match is None or match[1] not in "-d" or not is_safe_path(match[3]):
            raise UserError(
                f"{iso} has a file that no roll has (a link, a device, or an unsafe name): {line[-120:]}; get it again"
            )
        total += int(match[2])
    if done.exit_status != 0:
        raise UserError(f"{iso} is damaged: {failure_of(done)}; get it again")
    if total > _size(iso):
        raise UserError(f"{iso} is damaged: its files have {total} bytes, more than itself; get it again")
    return total


def _mb(size: int) -> int:
    return -(-size // 1_000_000)


def _check_image(iso: Path) -> None:
    """UserError unless the file begins as an ISO and is as long as it states."""
    try:
        kind = iso.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISBLK(kind):
            raise UserError(f"{iso} is neither a file nor a drive; give the file of an ISO")
        with iso.open("rb") as file:
            is_iso = os.pread(file.fileno(), 6, 16 * _BLOCK_BYTES) == b"\x01CD001"
            stated = stated_bytes("iso", reader_of(file.fileno()))
    except OSError as error:
        raise UserError(f"cannot read {iso}: {error.strerror}; give the file of an ISO") from None
    if not is_iso:
        raise UserError(f"{iso} is not an ISO: rocks create roll makes one")
    if stated > _size(iso):
        raise UserError(f"{iso} is cut off: it states {stated} bytes and has {_size(iso)}; get it again")


def _size(iso: Path) -> int:
    """Bytes of a file or of a block device."""
    with iso.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def _read(iso: Path, arguments: Sequence[str]) -> Finished:
    return run_xorriso(["-abort_on", "FAILURE", "-indev", f"stdio:{iso.absolute()}", *arguments], 0)
