"""Add and remove distributions in the database; rocks create distro makes their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import check_plain_name
from rocks.install.rolls.folders import ROLLS
from rocks.inventory import appliances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

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
