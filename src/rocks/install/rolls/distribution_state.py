"""Whether a distribution has the packages of the enabled rolls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.install.rolls.content import DEBS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def outdated_packages(folder: Path, rolls: Sequence[Path]) -> list[str]:
    """Names of the deb packages that the distribution in `folder` lacks, or has with other content than these rolls.

    By names and sizes of files alone; empty for a distribution that was built of these rolls. OSError.
    """
    offered = {_name_and_size(path) for roll in rolls for path in (roll / DEBS).glob("*.deb")}
    there = {_name_and_size(path) for path in (folder / DEBS).rglob("*.deb")}
    missing = {name for name, _ in offered} - {name for name, _ in there}
    return sorted(missing | {name for name, _ in there - offered})


def _name_and_size(path: Path) -> tuple[str, int]:
    return path.name.partition("_")[0], path.stat().st_size
