"""Change networks: their addresses, MTU, DNS zone, and whether names are served for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.cluster.network_rules import check_interfaces_fit, check_zone, read_mtu
from rocks.database import subnets
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.cluster.records import Network
    from rocks.database.connection import Database


def set_network_subnet(database: Database, names: Sequence[str], subnet: str) -> None:
    """Give the networks another first address; UserError unless it and all interfaces fit their netmasks."""
    _set_addresses(database, names, "subnet", subnet, lambda network: replace(network, subnet=subnet))


def set_network_netmask(database: Database, names: Sequence[str], netmask: str) -> None:
    """Give the networks another netmask; UserError unless their subnets and all interfaces fit it."""
    _set_addresses(database, names, "netmask", netmask, lambda network: replace(network, netmask=netmask))


def set_network_mtu(database: Database, names: Sequence[str], mtu: str) -> None:
    """Give the networks another MTU in bytes."""
    subnets.set_column(database, names, "mtu", read_mtu(mtu))


def set_network_zone(database: Database, names: Sequence[str], zone: str) -> None:
    """Give one network another DNS zone; UserError for several, or when another network has it."""
    check_zone(zone)
    if len(names) > 1:
        raise UserError(f'only one network can have the dnszone "{zone}", not {" and ".join(names)}')
    present = subnets.find_network(database, "", zone)
    if present is not None and names and present[0].lower() != names[0].lower():
        raise UserError(f'the network "{present[0]}" has the dnszone "{present[1]}" already; give another')
    subnets.set_column(database, names, "dnszone", zone)


def set_network_servedns(database: Database, names: Sequence[str], serves_dns: bool) -> None:
    """Say whether the frontend serves the names of the networks."""
    subnets.set_column(database, names, "servedns", serves_dns)


def _set_addresses(
    database: Database, names: Sequence[str], column: str, value: str, changed: Callable[[Network], Network]
) -> None:
    subnets.lock_networks(database, names)
    interfaces = subnets.interfaces_on(database, names)
    for network in subnets.load_networks(database, names):
        mine = [(host, ip) for name, host, ip in interfaces if name == network.name and ip]
        check_interfaces_fit(changed(network), mine)
    subnets.set_column(database, names, column, value)
