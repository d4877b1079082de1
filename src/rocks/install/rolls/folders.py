"""Folders of rolls and files of /etc/rocks/trees.d, as the database states them; distributions in the database."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import trees
from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import PUBLIC, ensure_folders, has_content, sync_folder, write_file
from rocks.core.names import check_plain_name
from rocks.core.version import ROLL_NAME
from rocks.install.rolls.content import COMMANDS
from rocks.install.rolls.roll_records import RollRow, load_rolls
from rocks.install.rolls.signatures import same_content
from rocks.inventory import appliances
from rocks.inventory.attributes.known import value_in
from rocks.inventory.attributes.records import global_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.database.connection import Database


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


# Add and remove distributions in the database; rocks create distro makes their files.


_LONGEST = 32


def add_distribution(database: Database, name: str) -> None:
    """Add a distribution; UserError unless its name is valid and unused."""
    check_plain_name("distribution", name, _LONGEST)
    if name == ROLLS:
        raise UserError(
            f'distribution "{name}" is not valid: the folder of that name has the rolls; give another name'
        )
    if appliances.find_name(database, "distributions", name):
        raise UserError(f'distribution "{name}" already exists; rocks list distribution shows all')
    database.execute("INSERT INTO distributions (Name) VALUES (%s)", (name,))


def remove_distributions(database: Database, names: Sequence[str]) -> None:
    """Remove the distributions; UserError, and no change, when a membership uses one of them. Files stay."""
    used = _first_membership_of(database, names)
    if used is not None:
        raise UserError(
            f'cannot remove distribution "{used[0]}": hosts of the membership {used[1]} are installed from it; '
            "rocks list membership shows all memberships"
        )
    database.execute("DELETE FROM distributions WHERE Name IN %s", [names])


def _first_membership_of(database: Database, names: Sequence[str]) -> tuple[str, str] | None:
    """(distribution, membership) of one membership of the distributions; None when they have none."""
    rows = database.rows(
        "SELECT d.Name, m.Name FROM memberships m JOIN distributions d ON d.ID = m.Distribution"
        " WHERE d.Name IN %s ORDER BY m.ID LIMIT 1",
        [names],
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None
