"""Add and remove aliases of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import check_alias, printable
from rocks.inventory import alias_records as aliases
from rocks.inventory import node_records as nodes
from rocks.inventory.inventory_lock import lock_inventory
from rocks.network.dns.changes import names_after_commit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def add_alias(database: Database, host: str, alias: str) -> None:
    """Add an alias to the host. UserError for an alias that is not valid or in use."""
    check_alias(alias, {appliance.lower() for appliance in nodes.appliance_names(database)})
    lock_inventory(database)
    taken = nodes.find_taken_names(database, [alias], host).get(alias.lower())
    if taken is not None and taken[0] == "alias":
        raise UserError(f'alias "{printable(alias)}" already exists: host {taken[1]} has it')
    if taken is not None and taken[0] == "interface":
        raise UserError(f'alias "{printable(alias)}" is the name of an interface of the host {taken[1]}')
    if taken is not None:
        raise UserError(f'alias "{printable(alias)}" is the name of a host, which always has precedence')
    aliases.insert_alias(database, host, alias)
    names_after_commit(database)


def remove_aliases(database: Database, hosts: Sequence[str], alias: str | None) -> None:
    """Remove the alias of that name, or all aliases of the hosts. UserError when no host has the alias."""
    removed = aliases.remove_aliases(database, hosts, alias)
    if alias is not None and hosts and not removed:
        raise UserError(
            f'these hosts have no alias "{printable(alias)}"; rocks list host alias shows their aliases'
        )
    names_after_commit(database)


def check_no_alias(database: Database, selector: str) -> None:
    """UserError for an alias: as a selector it means its host, of which all aliases would be removed."""
    kind, host = nodes.find_taken_names(database, [selector]).get(selector.lower(), ("", ""))
    if kind == "alias":
        raise UserError(
            f"{printable(selector)} is an alias of {host}: rocks remove host alias alias={selector} removes it, rocks "
            f"remove host alias {host} all aliases of the host"
        )
