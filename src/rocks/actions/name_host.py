"""Other names of hosts: add and remove aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.names import check_alias, printable
from rocks.database import aliases, nodes
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def add_alias(database: Database, host: str, alias: str) -> None:
    """Give the host another name. UserError for one that is not allowed, or that any host has already."""
    check_alias(alias, {appliance.lower() for appliance in nodes.appliance_names(database)})
    taken = nodes.find_taken_names(database, [alias]).get(alias.lower())
    if taken is not None and taken[0] == "alias":
        raise UserError(f'alias "{printable(alias)}" already exists: host {taken[1]} has it')
    if taken is not None:
        raise UserError(
            f'alias "{printable(alias)}" is the name of a host already, which it would never reach'
        )
    aliases.insert_alias(database, host, alias)


def remove_aliases(database: Database, hosts: Sequence[str], alias: str | None) -> None:
    """Take away the alias of that name, or all that the hosts have. UserError when they have none of that name."""
    removed = aliases.remove_aliases(database, hosts, alias)
    if alias is not None and hosts and not removed:
        raise UserError(
            f'no alias "{printable(alias)}" of these hosts: rocks list host alias shows those there are'
        )
