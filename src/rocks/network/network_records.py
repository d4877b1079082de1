"""Rows of `subnets`: the networks of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import in_order
from rocks.inventory.records import Network

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
