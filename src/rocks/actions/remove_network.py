"""Remove networks that no interface is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database import subnets
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def remove_network(database: Database, names: Sequence[str]) -> None:
    """Remove all the networks, with the routes through them; UserError, and no change, when one is in use."""
    subnets.lock_networks(database, names)
    for network, host, _ in subnets.interfaces_on(database, names):
        raise UserError(
            f'cannot remove "{network}" network. There are nodes still associated with it. {host} is one of them; '
            "rocks list host interface shows them"
        )
    subnets.delete_networks(database, names)
