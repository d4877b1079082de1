"""Add a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.network_rules import check_network
from rocks.database import subnets
from rocks.errors import UserError

if TYPE_CHECKING:
    from rocks.cluster.records import Network
    from rocks.database.connection import Database


def add_network(database: Database, network: Network) -> None:
    """Add the network; UserError when it cannot be so, or when its name or its zone is in use."""
    check_network(network)
    present = subnets.find_network(database, network.name, network.dns_zone)
    if present is not None:
        if present[0].lower() == network.name.lower():
            raise UserError(f'network "{network.name}" exists; rocks set network changes it')
        raise UserError(
            f'the network "{present[0]}" has the dnszone "{present[1]}" already; give dnszone= another'
        )
    subnets.insert_network(database, network)
