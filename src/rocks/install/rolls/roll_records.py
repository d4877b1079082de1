"""Rows of `rolls`: the rolls that were added, and whether they are enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.database.connection import Database

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
