"""Build rolls and distributions, and create the sources of rolls."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import PUBLIC, write_file
from rocks.core.names import check_plain_name, printable
from rocks.install.graph_files import SITE_GRAPHS, SITE_NODES, Library, own_folders
from rocks.install.rolls.description import NO_ARCHITECTURE, checked_roll
from rocks.install.rolls.distribution_build import DistributionPlan, create_distribution
from rocks.install.rolls.iso_build import create_roll
from rocks.install.rolls.profile_package import create_profile_package
from rocks.install.rolls.templates import FILES
from rocks.install.rolls.versions import debian_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.install.rolls.description import RollId
    from rocks.install.rolls.distribution_build import DistributionReport

_LATEST = 4102444800  # the year 2100


def build_roll(description: Path, output: Path, key: str) -> Path:
    """Build a roll's ISO; its path. The time of its files is SOURCE_DATE_EPOCH, if that is set; '' as key: not signed.

    Errors as of `create_roll`; UserError for an invalid SOURCE_DATE_EPOCH.
    """
    return create_roll(description, output, _stated_epoch(), key)


def build_profile_packages(description: Path, output: Path, kinds: Sequence[str]) -> list[Path]:
    """Build the package of a roll's profile, as each of the kinds; the paths. Errors as of `create_profile_package`."""
    epoch = _stated_epoch()
    return [create_profile_package(description, output, kind, epoch) for kind in kinds]


def _stated_epoch() -> int | None:
    """SOURCE_DATE_EPOCH, if it is set. UserError for an invalid one."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not (text.isdecimal() and int(text[:12]) < _LATEST):
        raise UserError("SOURCE_DATE_EPOCH is a number of seconds since 1970; correct or unset it")
    return int(text) if text else None


def new_roll(name: str, version: str, arch: str, parent: Path, program: str) -> list[str]:
    """Create the sources of a roll; returns lines for its author. UserError for a name that is taken.

    `program` is what the author types: `rocks`, or its path where no folder of PATH has it.
    """
    roll = checked_roll(name, version, arch, "rocks create new roll")
    if name in Library().node_names():
        raise UserError(
            f'the node "{name}" is there already, so an enabled roll of that name could not have it'
        )
    word = command_word(name)
    if (Path(__file__).resolve().parents[2] / "commands" / "list" / "host" / word).exists():
        raise UserError(f'the command "list host {word}" is there already; give the roll another name')
    folder = write_skeleton(roll, parent)
    return [
        f"created {folder}",
        f"to build its ISO: make -C {folder} roll{'' if program == 'rocks' else f' ROCKS={program}'}",
        f"to try its commands: ROCKS_TREES={folder / 'commands'} {program} list host {word}",
    ]


def build_distribution(
    root: Path, rolls: Sequence[tuple[str, str, str]], name: str, arch: str, place: Path
) -> DistributionReport:
    """Build the distribution NAME/ARCH in a folder, from rolls (name, version, architecture) in the folder `root`.

    Rolls of other architectures are left out. UserError when none is for this one, and for a distribution that would
    be among the rolls' files. Errors as of `create_distribution`.
    """
    check_plain_name("dist", name, 64)
    check_plain_name("arch", arch, 32)
    folder, rolls_root = (place / name).resolve(), root.resolve()
    if folder == rolls_root or rolls_root in folder.parents:
        raise UserError(
            f"{folder} belongs to the rolls in {rolls_root}, where a distribution would count as a roll: choose "
            "another dist=, or change to another folder"
        )
    archs = {roll[2] for roll in rolls}
    if arch != platform.machine() and rolls and arch not in archs:
        raise UserError(
            f"no roll is for the architecture {arch}, only for {', '.join(sorted(archs))}; without arch= the "
            f"distribution is for {platform.machine()}"
        )
    folders = [root.joinpath(*roll) for roll in rolls if roll[2] in (arch, NO_ARCHITECTURE)]
    for folder in folders:
        if not folder.is_dir():
            raise StateError(
                f"the files of a roll are not in {folder}: add the roll again with rocks add roll"
            )
    plan = DistributionPlan(name, arch, folders, own_folders(), SITE_NODES, SITE_GRAPHS)
    return create_distribution(plan, place)


def rolls_by_text(root: Path, text: str, arch: str) -> list[tuple[str, str, str]]:
    """The rolls of a text `name,version name …` in the folder `root`; a name alone is its newest version there.

    UserError for a roll that is not there.
    """
    found = []
    for part in text.split():
        name, _, version = part.partition(",")
        there = [
            path.relative_to(root).parts
            for path in sorted(root.glob("[!.]*/*/*"))
            if path.name in (arch, NO_ARCHITECTURE) and path.parent.parent.name == name
        ]
        matching = sorted((debian_key(roll[1]), roll) for roll in there if version in ("", roll[1]))
        if not matching:
            raise UserError(
                f'there is no roll "{printable(part)}" for {arch} in {root}; rocks add roll adds one'
            )
        of_name, of_version, of_arch = matching[-1][1]
        found.append((of_name, of_version, of_arch))
    return found


def command_word(name: str) -> str:
    """The word of commands for a roll: its name, with an underscore for what no identifier has."""
    word = re.sub(r"[^a-z0-9_]", "_", name)
    return word if word[0].isalpha() else f"roll_{word}"


def write_skeleton(roll: RollId, parent: Path) -> Path:
    """Write the sources of a new roll to the folder NAME; returns it.

    UserError for a folder that exists, HostError for one that cannot be written. A killed writer leaves no folder NAME.
    """
    folder = parent.absolute() / roll.name
    values = {
        "@NAME@": roll.name,
        "@WORD@": command_word(roll.name),
        "@VERSION@": roll.version,
        "@ARCH@": roll.arch,
    }
    try:
        if folder.exists() or folder.is_symlink():
            raise UserError(f"{folder} is there already; give another name, or remove it")
        work = Path(tempfile.mkdtemp(prefix=f".{roll.name}.", dir=parent))
        try:
            for path, text in FILES.items():
                target = work / "roll" / _filled(path, values)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_file(target, _filled(text, values), mode=PUBLIC)
            (work / "roll").rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise HostError(f"cannot write {folder}: {error.strerror}") from None
    return folder


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text
