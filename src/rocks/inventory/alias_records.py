"""Rows of `aliases`: other names of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def insert_alias(database: Database, host: str, alias: str) -> None:
    """Add an alias to the host of that name."""
    database.execute(
        "INSERT INTO aliases (Node, Name) SELECT ID, %s FROM nodes WHERE Name = %s", (alias, host)
    )


def list_aliases(database: Database, names: Sequence[str]) -> list[tuple[object, ...]]:
    """(host, alias) of the named hosts, in their order."""
    rows = database.rows(
        "SELECT n.Name, l.Name FROM aliases l JOIN nodes n ON n.ID = l.Node WHERE n.Name IN %s ORDER BY l.ID",
        [names],
    )
    return in_order(rows, names)


def remove_aliases(database: Database, hosts: Sequence[str], alias: str | None) -> int:
    """Remove one alias, or all, of the hosts; returns their number."""
    condition, values = ("", []) if alias is None else (" AND l.Name = %s", [alias])
    return database.execute(
        f"DELETE l FROM aliases l JOIN nodes n ON n.ID = l.Node WHERE n.Name IN %s{condition}",
        [hosts, *values],
    )
