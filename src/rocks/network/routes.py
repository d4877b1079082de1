"""Add and remove static routes of the members of a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.in_use_records import lock_inventory
from rocks.network import route_records as table
from rocks.network.interfaces import existing_subnet
from rocks.network.network_rules import read_ipv4
from rocks.network.route_rules import Route, is_address, read_destination

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def add_route(
    database: Database, scope: str, members: Sequence[str], address: str, gateway: str, netmask: str
) -> None:
    """Add the route to all `members` of `scope`; UserError, and no change, when one of them has it.

    `gateway` is an address, or the name of a network through whose device the route leads.
    """
    destination = read_destination(address, netmask)
    network, mask = str(destination.network_address), str(destination.netmask)
    if is_address(gateway):
        subnet_id, route = None, Route(network, mask, gateway)
    else:
        subnet_id, subnet = existing_subnet(database, gateway)
        route = Route(network, mask, subnet=subnet.name)
    lock_inventory(database)
    having = table.read_routes(database, scope, members, network, mask)
    if having:
        one = having[0]
        of = "" if scope == "global" else f" of {scope} {one.member}"
        scope_name = "" if scope == "global" else f"{scope} "
        raise UserError(
            f"route exists: {network}/{mask}{of} leads through {one.route.through}; remove it first with rocks "
            f"remove {scope_name}route"
        )
    table.insert_route(database, scope, members, route, subnet_id)


def remove_routes(
    database: Database, scope: str, members: Sequence[str], address: str, netmask: str | None
) -> int:
    """Remove the routes to the address, in which `%` matches any text, from all `members`; returns their number.

    With `netmask` only those with that netmask. UserError for an address that no route can have.
    """
    if "%" not in address:
        read_ipv4("address", address, "10.2.0.0")
    elif not set(address) <= set("0123456789.%"):
        raise UserError(f'address "{printable(address)}" is not valid: it is IPv4, and % matches any text')
    return table.delete_routes(database, scope, members, address, netmask)
