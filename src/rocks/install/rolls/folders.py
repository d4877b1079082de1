"""Rows of `rolls`, the folders of rolls, and the files of /etc/rocks/trees.d, as the rows state them."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import trees
from rocks.core.errors import HostError, StateError
from rocks.core.files import PUBLIC, ensure_folders, has_content, sync_folder, write_file
from rocks.core.version import ROLL_NAME
from rocks.install.rolls.content import COMMANDS
from rocks.install.rolls.signatures import same_content
from rocks.inventory.attributes.known import value_in
from rocks.inventory.attributes.records import global_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rocks.database.connection import Database


# Rows of `rolls`: the rolls that were added, and whether they are enabled.


OPERATING_SYSTEM = "linux"


class RollRow(NamedTuple):
    """An added roll."""

    name: str
    version: str
    arch: str
    is_enabled: bool

    @property
    def roll(self) -> tuple[str, str, str]:
        """Name, version, architecture."""
        return self.name, self.version, self.arch


def load_rolls(database: Database) -> list[RollRow]:
    """All rolls, sorted by name, version and architecture."""
    rows = database.rows(
        "SELECT Name, COALESCE(Version, ''), COALESCE(Arch, ''), COALESCE(Enabled, 'no') = 'yes' FROM rolls"
        " WHERE OS = %s ORDER BY Name, Version, Arch",
        (OPERATING_SYSTEM,),
    )
    return [RollRow(name, version, arch, bool(enabled)) for name, version, arch, enabled in rows]


def insert_rolls(database: Database, rolls: Iterable[Sequence[str]]) -> None:
    """Add rolls (name, version, architecture), which are disabled; one that exists stays as it is."""
    database.insert_many(
        "INSERT INTO rolls (Name, Version, Arch, OS, Enabled) VALUES",
        [(*roll, OPERATING_SYSTEM, "no") for roll in rolls],
        "ON DUPLICATE KEY UPDATE Name = rolls.Name",
    )


def update_enabled(database: Database, rolls: Iterable[Sequence[str]], is_enabled: bool) -> None:
    """Enable or disable rolls (name, version, architecture)."""
    database.execute(
        "UPDATE rolls SET Enabled = %s WHERE OS = %s AND (Name, Version, Arch) IN %s",
        ("yes" if is_enabled else "no", OPERATING_SYSTEM, [tuple(roll[:3]) for roll in rolls]),
    )


def delete_rolls(database: Database, rolls: Iterable[Sequence[str]]) -> None:
    """Remove rolls (name, version, architecture), also from the frontends for which they were chosen."""
    database.execute(
        "DELETE FROM rolls WHERE OS = %s AND (Name, Version, Arch) IN %s",
        (OPERATING_SYSTEM, [tuple(roll[:3]) for roll in rolls]),
    )


# The folders of rolls below the distribution, and the files of /etc/rocks/trees.d, as the database states them.


ROLLS = "rolls"
"""Folder of the rolls, beside those of the distributions."""

_LEFT = ".unfinished-"
_MOUNTS = Path("/proc/self/mounts")


def distribution_folder(database: Database) -> Path:
    """The folder of the distribution, as `rocks report distro` prints it."""
    return Path(value_in(global_attributes(database), "Kickstart_DistroDir")) / "install"


def rolls_folder(database: Database) -> Path:
    """The folder with a folder NAME/VERSION/ARCH for each roll."""
    return distribution_folder(database) / ROLLS


def roll_path(root: Path, roll: Sequence[str]) -> Path:
    """The folder of a roll (name, version, architecture)."""
    return root.joinpath(*roll)


def mounted_cds() -> list[Path]:
    """The drives with a mounted CD. StateError when there is none."""
    fields = [line.split() for line in _MOUNTS.read_text("utf-8", "replace").splitlines()]
    found = sorted(
        {Path(field[0]) for field in fields if field[2] == "iso9660" and field[0].startswith("/dev/")}
    )
    if not found:
        raise StateError("CDROM not mounted: give the path of the roll's ISO, as in rocks add roll hello.iso")
    return found


def folders_without_rows(root: Path) -> list[tuple[str, str, str]]:
    """(name, version, architecture) of every roll's folder: a killed removal may have left one."""
    found = [path.relative_to(root).parts for path in sorted(root.glob("[!.]*/*/*")) if path.is_dir()]
    return [(name, version, arch) for name, version, arch in found]


def remove_byte_code(folder: Path) -> None:
    """Remove what Python has written beside the commands of an enabled roll: no manifest names it."""
    for path in list((folder / COMMANDS).rglob("__pycache__")):
        shutil.rmtree(path, ignore_errors=True)


def put_in_place(folder: Path, place: Path, staging: Path) -> None:
    """Make the folder the roll's; the one before it goes to the staging folder, which is removed."""
    if folder == place or (place.is_dir() and same_content(folder, place)):
        return
    ensure_folders(place.parent, 0o755)
    sync_tree(folder)
    if place.exists():
        place.rename(Path(tempfile.mkdtemp(dir=staging)) / "replaced")
    folder.rename(place)
    sync_folder(place.parent)


def sync_tree(folder: Path) -> None:
    """Put what was extracted or built on the disk, before its name is."""
    for path, _, files in os.walk(folder):
        for name in (*files, "."):
            descriptor = os.open(Path(path, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """A folder on the file system of the rolls, removed at the end."""
    ensure_folders(root, 0o755)
    folder = Path(tempfile.mkdtemp(prefix=_LEFT, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def update_files_after_commit(database: Database, root: Path, gone: Sequence[Sequence[str]] = ()) -> None:
    """Have the next commit bring the files to agree with the database; `gone` are rolls that it no longer has."""
    rows = load_rolls(database)
    database.after_commit(lambda: _bring_files_up_to_date(root, rows, gone))


def _bring_files_up_to_date(root: Path, rows: Sequence[RollRow], gone: Sequence[Sequence[str]]) -> None:
    """One file of /etc/rocks/trees.d for each enabled roll, and no folder of the rolls that are gone."""
    folder = Path(trees.TREES_FOLDER)
    named = {f"roll-{row.name}": row for row in rows if row.is_enabled and row.name != ROLL_NAME}
    try:
        if named:
            ensure_folders(folder, 0o755)
        for name, row in named.items():
            text = f"# written by rocks enable roll\n{roll_path(root, row.roll).absolute() / COMMANDS}\n"
            if not has_content(folder / name, text):
                write_file(folder / name, text, mode=PUBLIC)
        for path in folder.glob("roll-*") if folder.is_dir() else ():
            if path.name not in named:
                path.unlink()
        _remove_folders(root, gone)
    except HostError as error:
        raise HostError(f"the rolls are changed, but {error}; then repeat the command") from None
    except OSError as error:
        raise HostError(
            f"the rolls are changed, but {error.filename} cannot be: {error.strerror}; repeat the command"
        ) from None


def _remove_folders(root: Path, rolls: Sequence[Sequence[str]]) -> None:
    """Remove what killed commands left, and the folders of these rolls."""
    for left in root.glob(f"{_LEFT}*"):
        shutil.rmtree(left, ignore_errors=True)
    for folder in (roll_path(root, roll) for roll in rolls):
        if folder.is_dir():
            gone = Path(tempfile.mkdtemp(prefix=_LEFT, dir=root))
            folder.rename(gone / "roll")
            shutil.rmtree(gone, ignore_errors=True)
        for parent in (folder.parent, folder.parent.parent):
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
