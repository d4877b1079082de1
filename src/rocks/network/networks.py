"""Add, change and remove networks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rocks.core.errors import UserError
from rocks.inventory.inventory_lock import lock_inventory
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network import network_records as subnets
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
    from rocks.inventory.records import Network


def add_network(database: Database, network: Network) -> None:
    """Add the network; UserError unless it is valid and its name and zone are unused.

    The network `private` brings the default firewall rules with it.
    """
    check_network(network)
    lock_inventory(database)
    present = subnets.find_network(database, network.name, network.dns_zone)
    if present is not None:
        if present[0].lower() == network.name.lower():
            raise UserError(f'network "{network.name}" exists; rocks set network changes it')
        raise UserError(
            f'the network "{present[0]}" has the dnszone "{present[1]}" already; give dnszone= another'
        )
    check_no_overlap(network, subnets.load_networks(database, subnets.network_names(database)))
    subnets.insert_network(database, network)
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
    subnets.set_column(database, names, "mtu", read_mtu(mtu))


def set_network_zone(database: Database, names: Sequence[str], zone: str) -> None:
    """Set the DNS zone of one network; UserError for several networks, or when another network has the zone."""
    check_zone(zone)
    if len(names) > 1:
        raise UserError(f'only one network can have the dnszone "{zone}", not {" and ".join(names)}')
    present = subnets.find_network(database, "", zone)
    if present is not None and names and present[0].lower() != names[0].lower():
        raise UserError(f'the network "{present[0]}" has the dnszone "{present[1]}" already; give another')
    subnets.set_column(database, names, "dnszone", zone)


def set_network_servedns(database: Database, names: Sequence[str], serves_dns: bool) -> None:
    """Set whether the frontend serves the names of the networks."""
    subnets.set_column(database, names, "servedns", serves_dns)


def _set_addresses(database: Database, names: Sequence[str], column: str, value: str) -> None:
    lock_inventory(database)
    subnets.lock_networks(database, names)
    interfaces = subnets.interfaces_on(database, names)
    networks = subnets.load_networks(database, subnets.network_names(database))
    set_names = {name.lower() for name in names}
    new: dict[str, Any] = {column: value}
    changed = [replace(one, **new) for one in networks if one.name.lower() in set_names]
    others = [one for one in networks if one.name.lower() not in set_names]
    for network in changed:
        check_no_overlap(network, [*others, *changed])
        on_network = [(host, ip) for name, host, ip in interfaces if name == network.name and ip]
        check_interfaces_fit(network, on_network)
    subnets.set_column(database, names, column, value)


def remove_network(database: Database, names: Sequence[str]) -> None:
    """Remove the networks with their routes; UserError, and no change, when one is in use."""
    subnets.lock_networks(database, names)
    for network, host, _ in subnets.interfaces_on(database, names):
        raise UserError(
            f'cannot remove "{network}" network. There are nodes still associated with it. {host} is one of them; '
            "rocks list host interface shows them"
        )
    subnets.delete_networks(database, names)
