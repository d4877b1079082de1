"""Remove interfaces of hosts from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.names import printable
from rocks.database import interfaces as table
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def remove_interfaces(database: Database, hosts: Sequence[str], iface: str) -> int:
    """Remove the interfaces whose device or MAC address matches `iface`, where `%` stands for any text.

    Returns how many. UserError when none of the hosts has one.
    """
    removed = table.remove_interfaces(database, hosts, iface)
    if hosts and not removed:
        raise UserError(
            f'no interface "{printable(iface)}" on {hosts[0] if len(hosts) == 1 else "any of these hosts"}: '
            "rocks list host interface shows those there are"
        )
    return removed
