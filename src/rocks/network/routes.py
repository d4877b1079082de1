"""Routes of the four scopes: reading, resolution for hosts, writing; always in sets.

A scope is one of `route_rules.SCOPES`; its members are `global`, `linux` and `sunos`, appliances, or hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.database.sets import among, in_order
from rocks.inventory.host_records import lock_inventory
from rocks.network.host_network_plan import default_gateway
from rocks.network.interfaces import existing_subnet, find_interfaces, find_subnet
from rocks.network.network_rules import read_ipv4
from rocks.network.networks import is_on_network
from rocks.network.route_rules import (
    Route,
    RouteOwner,
    StoredRoute,
    is_address,
    read_destination,
    resolve_routes,
    route_place,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.network.interface_rules import Subnet
    from rocks.network.route_rules import ResolvedRoute


class _Place(NamedTuple):
    """Where the routes of a scope are stored: table, the column of its members, and the table of their names."""

    table: str
    column: str
    members: str


_PLACES = {
    "global": _Place("global_routes", "", ""),
    "os": _Place("os_routes", "OS", ""),
    "appliance": _Place("appliance_routes", "Appliance", "appliances"),
    "host": _Place("node_routes", "Node", "nodes"),
}


def read_routes(
    database: Database, scope: str, members: Sequence[str], network: str = "%", netmask: str | None = None
) -> list[StoredRoute]:
    """The routes of the members, in their order, then by address; `network` is a pattern of SQL's LIKE."""
    name, source, conditions, values = _of_members(scope, members, network, netmask)
    rows = database.rows(
        f"SELECT {name}, r.Network, r.Netmask, r.Gateway, s.name FROM {source}"
        f" LEFT JOIN subnets s ON s.ID = r.Subnet WHERE {conditions}",
        values,
    )
    found = sorted((_stored(scope, row) for row in rows), key=lambda one: route_place(one.route))
    by_member = in_order([(one.member, one) for one in found], members)
    return [one for _, one in by_member]


def insert_route(
    database: Database, scope: str, members: Sequence[str], route: Route, subnet_id: int | None
) -> None:
    """Add the route to the members; none of them has it."""
    place = _PLACES[scope]
    columns = "Network, Netmask, Gateway, Subnet"
    values: list[object] = [route.network, route.netmask, route.gateway, subnet_id]
    if not place.column:
        database.execute(f"INSERT INTO {place.table} ({columns}) VALUES (%s, %s, %s, %s)", values)
    elif not place.members:
        database.insert_many(
            f"INSERT INTO {place.table} ({place.column}, {columns}) VALUES",
            [(member, *values) for member in members],
        )
    elif members:
        database.execute(
            f"INSERT INTO {place.table} ({place.column}, {columns}) SELECT m.ID, %s, %s, %s, %s"
            f" FROM {place.members} m WHERE m.Name IN %s",
            [*values, members],
        )


def delete_routes(
    database: Database, scope: str, members: Sequence[str], network: str, netmask: str | None
) -> int:
    """Remove the routes whose address matches the pattern `network` from the members; returns their number."""
    _, source, conditions, values = _of_members(scope, members, network, netmask)
    return database.execute(f"DELETE r FROM {source} WHERE {conditions}", values)


def routes_of_hosts(database: Database, names: Sequence[str] | None) -> dict[str, tuple[ResolvedRoute, ...]]:
    """Host → the routes that apply to it, in the order of the names; two statements for any number of hosts.

    None: all hosts, in the database's order.
    """
    condition, values = among("n.Name", names)
    rows = database.rows(
        "SELECT n.Name, COALESCE(n.OS, ''), COALESCE(a.Name, '') FROM nodes n"
        " LEFT JOIN memberships m ON m.ID = n.Membership LEFT JOIN appliances a ON a.ID = m.Appliance"
        f"{condition} ORDER BY n.ID",
        values,
    )
    owners = [RouteOwner(*map(str, row)) for row in (rows if names is None else in_order(rows, names))]
    return resolve_routes(owners, _all_scopes(database, names))


def default_gateways(database: Database, names: Sequence[str]) -> dict[str, str]:
    """Host → gateway of its default route; hosts without one are omitted."""
    found = {host: default_gateway(routes) for host, routes in routes_of_hosts(database, names).items()}
    return {host: gateway for host, gateway in found.items() if gateway}


def _all_scopes(database: Database, hosts: Sequence[str] | None) -> list[StoredRoute]:
    parts = []
    of_hosts, values = among("m.Name", hosts)
    for scope, place in _PLACES.items():
        name, source = _names(place)
        condition = of_hosts if scope == "host" else ""
        parts.append(
            f"SELECT '{scope}', {name}, r.Network, r.Netmask, r.Gateway, s.name FROM {source}"
            f" LEFT JOIN subnets s ON s.ID = r.Subnet{condition}"
        )
    return [_stored(str(row[0]), row[1:]) for row in database.rows(" UNION ALL ".join(parts), values)]


def _names(place: _Place) -> tuple[str, str]:
    """(the member's name, the tables) for a statement."""
    if not place.members:
        return (f"r.{place.column}" if place.column else "''"), f"{place.table} r"
    return "m.Name", f"{place.table} r JOIN {place.members} m ON m.ID = r.{place.column}"


def _of_members(
    scope: str, members: Sequence[str], network: str, netmask: str | None
) -> tuple[str, str, str, list[object]]:
    """(the member's name, the tables, the conditions, their values) of a statement on members' routes."""
    name, source = _names(_PLACES[scope])
    conditions, values = ["r.Network LIKE %s"], list[object]((network,))
    if scope == "global":
        name = "'global'"
    else:
        conditions.append(f"{name} IN %s")
        values.append(members)
    if netmask is not None:
        conditions.append("r.Netmask = %s")
        values.append(netmask)
    return name, source, " AND ".join(conditions), values


def _stored(scope: str, row: tuple[Any, ...]) -> StoredRoute:
    member, network, netmask, gateway, subnet = row
    return StoredRoute(
        scope, str(member), Route(str(network), str(netmask), str(gateway or ""), str(subnet or ""))
    )


# Add and remove static routes of the members of a scope.


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
    having = read_routes(database, scope, members, network, mask)
    if having:
        one = having[0]
        of = "" if scope == "global" else f" of {scope} {one.member}"
        scope_name = "" if scope == "global" else f"{scope} "
        raise UserError(
            f"route exists: {network}/{mask}{of} leads through {one.route.through}; remove it first with rocks "
            f"remove {scope_name}route"
        )
    insert_route(database, scope, members, route, subnet_id)
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
    return delete_routes(database, scope, members, address, netmask)
