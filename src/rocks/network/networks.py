"""Networks of the site: the rows of `subnets`, and adding, changing and removing them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rocks.core.errors import UserError
from rocks.database.sets import in_order
from rocks.inventory.host_records import lock_inventory
from rocks.inventory.records import PRIVATE_NETWORK, Network
from rocks.network.firewall.records import insert_default_rules
from rocks.network.network_rules import (
    check_interfaces_fit,
    check_network,
    check_no_overlap,
    check_zone,
    read_mtu,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


_COLUMNS = frozenset(("subnet", "netmask", "mtu", "dnszone", "servedns"))


def load_networks(database: Database, names: Sequence[str]) -> list[Network]:
    """The named networks, in the order of the names; unknown names are omitted."""
    rows = database.rows(
        "SELECT name, COALESCE(subnet, ''), COALESCE(netmask, ''), COALESCE(mtu, 1500), COALESCE(dnszone, ''),"
        " COALESCE(servedns, 0) FROM subnets WHERE name IN %s",
        [names],
    )
    return [
        Network(str(name), str(subnet), str(netmask), int(str(mtu)), str(zone), bool(serves_dns))
        for name, subnet, netmask, mtu, zone, serves_dns in in_order(rows, names)
    ]


def network_names(database: Database) -> list[str]:
    """The names of all networks."""
    return [str(row[0]) for row in database.rows("SELECT name FROM subnets ORDER BY ID")]


def is_on_network(database: Database, ip: str) -> bool:
    """Whether a network has the IPv4 address."""
    same = "INET_ATON(%s) & INET_ATON(netmask) = INET_ATON(subnet)"
    return bool(database.rows(f"SELECT 1 FROM subnets WHERE {same} LIMIT 1", [ip]))


def zone_of(database: Database, name: str) -> str:
    """The DNS zone of a network; '' when the network has no zone or does not exist."""
    networks = load_networks(database, [name])
    return networks[0].dns_zone if networks else ""


def find_network(database: Database, name: str, zone: str) -> tuple[str, str] | None:
    """(name, zone) of a network with this name or this zone; None when there is none."""
    rows = database.rows(
        "SELECT name, COALESCE(dnszone, '') FROM subnets WHERE name = %s OR dnszone = %s ORDER BY name <> %s LIMIT 1",
        (name, zone, name),
    )
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


def insert_network(database: Database, network: Network) -> None:
    """Add a network."""
    database.execute(
        "INSERT INTO subnets (name, subnet, netmask, mtu, dnszone, servedns) VALUES (%s, %s, %s, %s, %s, %s)",
        (
            network.name,
            network.subnet,
            network.netmask,
            network.mtu_bytes,
            network.dns_zone,
            network.serves_dns,
        ),
    )


def set_column(database: Database, names: Sequence[str], column: str, value: object) -> None:
    """Set one column of `subnets` to the same value for the networks."""
    assert column in _COLUMNS
    database.execute(f"UPDATE subnets SET {column} = %s WHERE name IN %s", [value, names])


def delete_networks(database: Database, names: Sequence[str]) -> None:
    """Remove the networks, and the routes and firewall rules that use them."""
    database.execute("DELETE FROM subnets WHERE name IN %s", [names])


def lock_networks(database: Database, names: Sequence[str]) -> None:
    """Prevent others from adding interfaces to the networks until the end of the transaction."""
    database.rows("SELECT ID FROM subnets WHERE name IN %s FOR UPDATE", [names])


def interfaces_on(database: Database, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(network, host, IP address or '') of each interface on the networks, in the database's order."""
    rows = database.rows(
        "SELECT s.name, n.Name, COALESCE(i.IP, '') FROM networks i JOIN subnets s ON s.ID = i.Subnet"
        " JOIN nodes n ON n.ID = i.Node WHERE s.name IN %s ORDER BY i.ID",
        [names],
    )
    return [(str(network), str(host), str(ip)) for network, host, ip in rows]


# Add, change and remove networks.


def add_network(database: Database, network: Network) -> None:
    """Add the network; UserError unless it is valid and its name and zone are unused.

    The network `private` brings the default firewall rules with it.
    """
    check_network(network)
    lock_inventory(database)
    present = find_network(database, network.name, network.dns_zone)
    if present is not None:
        if present[0].lower() == network.name.lower():
            raise UserError(f'network "{network.name}" exists; rocks set network changes it')
        raise UserError(
            f'the network "{present[0]}" has the dnszone "{present[1]}" already; give dnszone= another'
        )
    check_no_overlap(network, load_networks(database, network_names(database)))
    insert_network(database, network)
    if network.name.lower() == PRIVATE_NETWORK:
        insert_default_rules(database)


def set_network_subnet(database: Database, names: Sequence[str], subnet: str) -> None:
    """Set the first address of the networks; UserError unless it and all interfaces fit the netmasks."""
    _set_addresses(database, names, "subnet", subnet)


def set_network_netmask(database: Database, names: Sequence[str], netmask: str) -> None:
    """Set the netmask of the networks; UserError unless their subnets and all interfaces fit it."""
    _set_addresses(database, names, "netmask", netmask)


def set_network_mtu(database: Database, names: Sequence[str], mtu: str) -> None:
    """Set the MTU of the networks, in bytes."""
    set_column(database, names, "mtu", read_mtu(mtu))


def set_network_zone(database: Database, names: Sequence[str], zone: str) -> None:
    """Set the DNS zone of one network; UserError for several networks, or when another network has the zone."""
    check_zone(zone)
    if len(names) > 1:
        raise UserError(f'only one network can have the dnszone "{zone}", not {" and ".join(names)}')
    present = find_network(database, "", zone)
    if present is not None and names and present[0].lower() != names[0].lower():
        raise UserError(f'the network "{present[0]}" has the dnszone "{present[1]}" already; give another')
    set_column(database, names, "dnszone", zone)


def set_network_servedns(database: Database, names: Sequence[str], serves_dns: bool) -> None:
    """Set whether the frontend serves the names of the networks."""
    set_column(database, names, "servedns", serves_dns)


def _set_addresses(database: Database, names: Sequence[str], column: str, value: str) -> None:
    lock_inventory(database)
    lock_networks(database, names)
    interfaces = interfaces_on(database, names)
    networks = load_networks(database, network_names(database))
    set_names = {name.lower() for name in names}
    new: dict[str, Any] = {column: value}
    changed = [replace(one, **new) for one in networks if one.name.lower() in set_names]
    others = [one for one in networks if one.name.lower() not in set_names]
    for network in changed:
        check_no_overlap(network, [*others, *changed])
        on_network = [(host, ip) for name, host, ip in interfaces if name == network.name and ip]
        check_interfaces_fit(network, on_network)
    set_column(database, names, column, value)


def remove_network(database: Database, names: Sequence[str]) -> None:
    """Remove the networks with their routes; UserError, and no change, when one is in use."""
    lock_networks(database, names)
    for network, host, _ in interfaces_on(database, names):
        raise UserError(
            f'cannot remove "{network}" network. There are nodes still associated with it. {host} is one of them; '
            "rocks list host interface shows them"
        )
    delete_networks(database, names)
