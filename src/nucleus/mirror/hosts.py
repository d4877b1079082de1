"""Physical hosts as `rocks` lists them, and as the batch system names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nucleus.mirror.pool import Session

LISTED, SCHEDULED = "is_listed", "is_scheduled"
"""By whom a host is known: `rocks`, the batch system."""


def record_hosts(session: Session, column: str, names: Iterable[str]) -> None:
    """Note the hosts that LISTED or SCHEDULED is true of now; of all others it is not."""
    found = set(names)
    if found == {name for (name,) in session.rows(f"SELECT name FROM site_host WHERE {column}")}:
        return
    session.execute(f"UPDATE site_host SET {column} = FALSE WHERE {column}")
    rows = [(name, True) for name in sorted(found)]
    session.insert_many(
        f"INSERT INTO site_host (name, {column}) VALUES", rows, f"ON DUPLICATE KEY UPDATE {column} = TRUE"
    )
    session.delete("site_host", is_listed=False, is_scheduled=False)


def nodes_without_host(session: Session) -> list[str]:
    """Nodes of the batch system that are no hosts of the cluster, by name; none before hosts were listed once."""
    rows = session.rows(
        "SELECT name FROM site_host WHERE is_scheduled AND NOT is_listed"
        " AND EXISTS (SELECT 1 FROM site_host WHERE is_listed) ORDER BY name"
    )
    return [name for (name,) in rows]
