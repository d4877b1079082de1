"""The memory of hosts, as they reported it last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import placeholders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database


def record_host_memory(database: Database, memory_mb: Mapping[str, int]) -> None:
    """Record what hosts have reported, in MB; one statement. Hosts that are not in the database are omitted."""
    if memory_mb:
        row = "SELECT ID, %s FROM nodes WHERE Name = %s"
        database.execute(
            f"INSERT INTO host_memory (Host, MB) {' UNION ALL '.join([row] * len(memory_mb))}"
            " ON DUPLICATE KEY UPDATE MB = VALUES(MB)",
            [value for host, memory in memory_mb.items() for value in (memory, host)],
        )


def host_memory_mb(database: Database, hosts: Sequence[str]) -> dict[str, int]:
    """Host → its memory in MB when it was asked last; hosts that were never asked are omitted."""
    if not hosts:
        return {}
    rows = database.rows(
        "SELECT n.Name, h.MB FROM host_memory h JOIN nodes n ON n.ID = h.Host"
        f" WHERE n.Name IN ({placeholders(hosts)})",
        hosts,
    )
    return {str(host): int(memory) for host, memory in rows}
