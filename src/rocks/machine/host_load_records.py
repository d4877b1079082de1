"""The memory of hosts that is given to the virtual machines recorded there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import placeholders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def recorded_memory_mb(database: Database, hosts: Sequence[str]) -> dict[str, int]:
    """Host in lower case → the sum, in MB; hosts without machines are omitted."""
    if not hosts:
        return {}
    rows = database.rows(
        "SELECT p.Name, SUM(v.Mem) FROM vm_nodes v JOIN nodes p ON p.ID = v.PhysNode"
        f" WHERE p.Name IN ({placeholders(hosts)}) GROUP BY p.Name",
        hosts,
    )
    return {str(host).lower(): int(memory) for host, memory in rows}
