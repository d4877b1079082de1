"""Rows of `rolls` (added rolls) and `node_rolls` (rolls chosen for frontends), and how they are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import is_like, printable
from rocks.core.near_names import did_you_mean
from rocks.database.sets import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


# Rows of `node_rolls`: the rolls that are chosen for frontends; always in sets.


class HostRoll(NamedTuple):
    """A roll that is chosen for a host."""

    host: str
    name: str
    version: str
    arch: str
    os: str


def list_host_rolls(database: Database, names: Sequence[str]) -> list[HostRoll]:
    """The rolls of the named hosts, in their order, then by the name of the roll."""
    rows = database.rows(
        "SELECT n.Name, r.Name, COALESCE(r.Version, ''), COALESCE(r.Arch, ''), COALESCE(r.OS, '')"
        " FROM node_rolls c JOIN nodes n ON n.ID = c.Node JOIN rolls r ON r.ID = c.RollID"
        " WHERE n.Name IN %s ORDER BY r.Name, r.Version, r.Arch",
        [names],
    )
    return [HostRoll(*row) for row in in_order(rows, names)]


def find_rolls(database: Database, patterns: Sequence[str], version: str, arch: str) -> dict[str, list[int]]:
    """Pattern → IDs of the rolls whose name matches it, with a version and architecture that match (`%`: any)."""
    branch = (
        "SELECT %s, ID FROM rolls WHERE Name LIKE %s"
        " AND COALESCE(Version, '') LIKE %s AND COALESCE(Arch, '') LIKE %s"
    )
    found: dict[str, list[int]] = {pattern: [] for pattern in patterns}
    if patterns:
        values = [value for pattern in found for value in (pattern, pattern, version, arch)]
        for pattern, number in database.rows(" UNION ALL ".join([branch] * len(found)), values):
            found[str(pattern)].append(int(number))
    return found


def frontends_among(database: Database, names: Sequence[str]) -> list[str]:
    """The named hosts of the appliance frontend, in their order."""
    rows = database.rows(
        "SELECT n.Name FROM nodes n JOIN memberships m ON m.ID = n.Membership JOIN appliances a ON a.ID = m.Appliance"
        " WHERE a.Name = 'frontend' AND n.Name IN %s",
        [names],
    )
    return [str(row[0]) for row in in_order(rows, names)]


def insert_host_rolls(database: Database, host: str, rolls: Sequence[int]) -> None:
    """Choose the rolls for the host; those that it has stay."""
    database.execute(
        "INSERT IGNORE INTO node_rolls (Node, RollID) SELECT n.ID, r.ID FROM nodes n JOIN rolls r"
        " ON r.ID IN %s WHERE n.Name = %s",
        [rolls, host],
    )


def delete_host_rolls(database: Database, host: str, rolls: Sequence[int] | None = None) -> None:
    """Remove the rolls, or all of them (None), from the host."""
    condition = "" if rolls is None else " AND c.RollID IN %s"
    database.execute(
        f"DELETE c FROM node_rolls c JOIN nodes n ON n.ID = c.Node WHERE n.Name = %s{condition}",
        [host] if rolls is None else [host, rolls],
    )


# Choose rolls for frontends, and remove them.


def add_host_rolls(database: Database, host: str, rolls: Sequence[str], version: str, arch: str) -> None:
    """Choose the rolls for the frontend, besides those that it has. UserError for an unknown roll."""
    _check_frontend(database, host)
    insert_host_rolls(database, host, _ids(database, rolls, version, arch))


def set_host_rolls(database: Database, host: str, rolls: Sequence[str], version: str, arch: str) -> None:
    """Choose exactly these rolls for the frontend. UserError, and no change, for an unknown roll."""
    _check_frontend(database, host)
    numbers = _ids(database, rolls, version, arch)
    delete_host_rolls(database, host)
    insert_host_rolls(database, host, numbers)


def remove_host_rolls(database: Database, host: str, rolls: Sequence[str], version: str, arch: str) -> None:
    """Remove the rolls, without names all of them, from the host. UserError for an unknown roll."""
    numbers = (
        _ids(database, rolls or ("%",), version, arch) if rolls or (version, arch) != ("%", "%") else None
    )
    delete_host_rolls(database, host, numbers)


def _ids(database: Database, rolls: Sequence[str], version: str, arch: str) -> list[int]:
    found = find_rolls(database, rolls, version, arch)
    for name, numbers in found.items():
        if not numbers:
            of_kind = "".join(
                f" {what} {value}" for what, value in (("version", version), ("arch", arch)) if value != "%"
            )
            raise UserError(
                f'unknown roll "{printable(name)}"{printable(of_kind)}; rolls are listed by rocks list roll'
            )
    return sorted({number for numbers in found.values() for number in numbers})


def _check_frontend(database: Database, host: str) -> None:
    if not frontends_among(database, [host]):
        raise UserError(
            f"host {host} is not a frontend: only frontends are installed with rolls that are chosen"
        )
