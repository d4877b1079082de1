"""Add and remove static routes of the members of a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.inventory_lock import lock_inventory
from rocks.network import route_records as table
from rocks.network.interface_records import find_interfaces, find_subnet
from rocks.network.interfaces import existing_subnet
from rocks.network.network_records import is_on_network
from rocks.network.network_rules import read_ipv4
from rocks.network.route_rules import Route, is_address, read_destination

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.network.interface_rules import Subnet


def add_route(
    database: Database, scope: str, members: Sequence[str], address: str, gateway: str, netmask: str
) -> str:
    """Add the route to all `members` of `scope`; UserError, and no change, when one of them has it.

    `gateway` is an address, or the name of a network through whose device the route leads. Returns a line about a
    gateway that no host reaches, else ''.
    """
    destination = read_destination(address, netmask)
    network, mask = str(destination.network_address), str(destination.netmask)
    if is_address(gateway):
        subnet_id, route = None, Route(network, mask, gateway)
    else:
        subnet_id, subnet = _network(database, scope, members, gateway)
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
    if not route.gateway or is_on_network(database, gateway):
        return ""
    return f"the gateway {gateway} is on no network of the site, and hosts leave the route out: rocks list network"


def _network(database: Database, scope: str, members: Sequence[str], name: str) -> tuple[int, Subnet]:
    """As `existing_subnet`; of a host's device, which Rocks takes here, the error names the network."""
    if scope == "host" and find_subnet(database, name) is None:
        for row in find_interfaces(database, members, name):
            if row.subnet is not None:
                raise UserError(
                    f'"{printable(name)}" is a device of {row.host}: name its network instead, {row.subnet.name}'
                )
    return existing_subnet(database, name)


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
