"""Builds the ISO of a roll from its source folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import BusyError, HostError, UserError
from rocks.core.files import rename_file, write_file
from rocks.install.rolls.checksums import MANIFEST, manifest_text
from rocks.install.rolls.content import check_installer, read_roll
from rocks.install.rolls.signatures import sign_manifest
from rocks.install.rolls.sources import copy_packages, copy_profile, read_sources
from rocks.library.xorriso import write_iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocks.install.rolls.description import RollDescription

EARLIEST = 315532800  # 1980: dates of files on an ISO begin there on some systems
_MEGABYTE = 1024 * 1024


def create_roll(description_path: Path, output: Path, epoch: int | None = None, key: str = "") -> Path:
    """Build the ISO of the roll that roll-NAME.xml describes, from the folder of that file; returns its path.

    `epoch` is the time of all files on it, in seconds since 1970; default: that in roll-NAME.xml. The same sources and
    time give the same bytes. With `key`, gpg signs the manifest with that secret key of this user. UserError and
    StateError name the file that is wrong, and no ISO is made; BusyError while the same ISO is being built.
    """
    description, data = read_sources(description_path)
    source = description_path.absolute().parent
    iso = output.absolute() / description.iso_name
    with work_folder(iso) as work:
        tree = work / "tree"
        folder = tree.joinpath(*description.roll)
        folder.mkdir(parents=True)
        write_file(folder / description_path.name, data)
        copy_profile(source, folder, description.roll.name)
        copy_packages(source, folder, description)
        read_roll(folder, description.roll, str(source))
        check_installer(folder, str(source))
        write_file(folder / MANIFEST, manifest_text(folder))
        made_at = max(epoch if epoch is not None else description.made_at or 0, EARLIEST)
        if key:
            sign_manifest(folder, key, made_at)
        roll = description.roll
        write_file(tree / ".discinfo", f"{made_at}\n{roll.name}\n{roll.arch}\n1\n")
        write_iso(tree, work / iso.name, f"{roll.name}-{roll.version}", made_at)
        _check_size(work / iso.name, description)
        rename_file(work / iso.name, iso)
    return iso


@contextlib.contextmanager
def work_folder(result: Path) -> Iterator[Path]:
    """A new folder beside the file that is built, removed at the end; what a killed build left is removed before.

    UserError and HostError when it cannot be there, BusyError while the same file is being built.
    """
    work = result.with_name(f".{result.name}.building")
    try:
        if not result.parent.is_dir():
            raise UserError(f"{result.parent} is not a folder; make it, or give another")
        work.mkdir(0o755, exist_ok=True)
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot use {work}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in work.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except BlockingIOError:
        raise BusyError(
            f"{result} is being built by another command; repeat this one when it has ended"
        ) from None
    except OSError as error:
        raise HostError(f"cannot build {result}: {error.strerror} ({error.filename})") from None
    finally:
        os.close(descriptor)


def _check_size(iso: Path, description: RollDescription) -> None:
    size_mb = -(-iso.stat().st_size // _MEGABYTE)
    if description.maximum_mb and size_mb > description.maximum_mb:
        raise UserError(
            f"the ISO of {description.roll} has {size_mb} MB, and roll-{description.roll.name}.xml permits "
            f"{description.maximum_mb}. A roll is one image, also when it is larger than a CD: "
            'write <iso maxsize="0"/>, or split the roll'
        )
