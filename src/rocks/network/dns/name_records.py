"""What the names of the site are made of: interfaces with addresses, and aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.addresses import AddressedInterface
from rocks.network.dns.names import SiteNames, name_addresses, with_valid_zones
from rocks.network.network_records import load_networks, network_names

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.inventory.records import Network


def load_site_names(database: Database) -> tuple[SiteNames, list[Network]]:
    """The names of all hosts, and all networks; four statements for any number of hosts."""
    networks, faults = with_valid_zones(load_networks(database, network_names(database)))
    rows = database.rows(
        "SELECT n.Name, COALESCE(i.Name, ''), i.IP, s.name, COALESCE(i.Device, ''), COALESCE(i.Channel, '')"
        " FROM networks i JOIN nodes n ON n.ID = i.Node"
        " JOIN subnets s ON s.ID = i.Subnet WHERE i.IP IS NOT NULL AND i.IP <> '' ORDER BY i.ID"
    )
    interfaces = [AddressedInterface(*map(str, row)) for row in rows]
    aliases = [
        (str(host), str(alias))
        for host, alias in database.rows(
            "SELECT n.Name, l.Name FROM aliases l JOIN nodes n ON n.ID = l.Node ORDER BY l.ID"
        )
    ]
    names = name_addresses(interfaces, networks, aliases)
    return names._replace(problems=(*faults, *names.problems)), networks
