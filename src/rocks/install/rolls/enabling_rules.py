"""Rules for rolls: which may be enabled or disabled, given those that are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import is_like, printable
from rocks.core.near_names import did_you_mean
from rocks.install.rolls.versions import debian_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.install.rolls.description import RollDescription


def select_rolls(
    rows: Sequence[tuple[str, str, str]], names: Sequence[str], version: str, arch: str
) -> list[tuple[str, str, str]]:
    """The (name, version, architecture) that match names, a version and an architecture; `%` stands for any text.

    UserError for a name without a match.
    """
    chosen: dict[tuple[str, str, str], None] = {}
    for name in names:
        found = [
            row
            for row in rows
            if is_like(row[0], name) and is_like(row[1], version) and is_like(row[2], arch)
        ]
        if not found:
            of_name = [" ".join(row[1:3]) for row in rows if is_like(row[0], name)]
            if of_name:
                sought = f'version "{printable(version)}"' if version != "%" else "version"
                sought += f' for "{printable(arch)}"' if arch != "%" else ""
                raise UserError(f'the roll "{printable(name)}" has no {sought}, only {", ".join(of_name)}')
            meant = did_you_mean(name, {row[0] for row in rows})
            raise UserError(f'unknown roll "{printable(name)}"; {meant}rocks list roll lists the known ones')
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def check_one_version(rolls: Iterable[tuple[str, str, str]]) -> None:
    """UserError when a roll is there in several versions or architectures, of which only one can be enabled."""
    first: dict[str, tuple[str, str, str]] = {}
    for roll in rolls:
        other = first.setdefault(roll[0].lower(), roll)
        if other != roll:
            raise UserError(
                f"the roll {roll[0]} is there as {' '.join(other[1:])} and as {' '.join(roll[1:])}, of which one can "
                f"be enabled: add version={roll[1]} or arch={roll[2]}"
            )


def check_disabled(rolls: Iterable[tuple[str, str, str]], enabled: Sequence[tuple[str, str, str]]) -> None:
    """StateError when one of the rolls is enabled."""
    found = [roll for roll in rolls if roll in enabled]
    if found:
        names = " ".join(roll[0] for roll in found)
        are = "is" if len(found) == 1 else "are"
        raise StateError(
            f"{', '.join(' '.join(roll) for roll in found)} {are} enabled, and in use by commands, profiles and "
            f"distributions: rocks disable roll {names}, then repeat the command"
        )


def check_needs(enabled: Iterable[RollDescription], ours: Mapping[str, str]) -> None:
    """StateError unless every enabled roll has the rolls that it needs. `ours`: what is there without one."""
    rolls = {one.roll: one.requirements for one in enabled}
    versions = {**{roll.name: roll.version for roll in rolls}, **ours}
    for roll, requirements in rolls.items():
        for name, lowest in requirements:
            if name not in versions:
                raise StateError(
                    f"the roll {roll.name} needs the roll {name}, which is not enabled: "
                    f"rocks enable roll {name}, or disable {roll.name} first"
                )
            if lowest and debian_key(versions[name]) < debian_key(lowest):
                raise StateError(
                    f"the roll {roll.name} needs version {lowest} or later of the roll {name}, and {versions[name]} is "
                    f"enabled: rocks enable roll {name} version={lowest}"
                )
