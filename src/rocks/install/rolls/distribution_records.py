"""Rows of `distributions`: the names under which hosts' packages are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import placeholders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def insert_distribution(database: Database, name: str) -> None:
    """Add a distribution."""
    database.execute("INSERT INTO distributions (Name) VALUES (%s)", (name,))


def first_membership_of(database: Database, names: Sequence[str]) -> tuple[str, str] | None:
    """(distribution, membership) of one membership of the distributions; None when they have none."""
    if not names:
        return None
    rows = database.rows(
        "SELECT d.Name, m.Name FROM memberships m JOIN distributions d ON d.ID = m.Distribution"
        f" WHERE d.Name IN ({placeholders(names)}) ORDER BY m.ID LIMIT 1",
        names,
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


def delete_distributions(database: Database, names: Sequence[str]) -> None:
    """Remove the distributions."""
    if names:
        database.execute(f"DELETE FROM distributions WHERE Name IN ({placeholders(names)})", names)
