"""Addresses of hosts from their interfaces and attributes, and addresses that no new interface gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.fleet.connection import HostAddress
from rocks.inventory.addresses import AddressedInterface, choose_interface, ssh_port
from rocks.inventory.attributes.known import value_in
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.host_records import find_local_host
from rocks.inventory.records import PRIVATE_NETWORK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


class PrivateAddress(NamedTuple):
    """An IPv4 address on the network private, and that network's netmask."""

    address: str
    netmask: str


def find_private_address(database: Database, host: str) -> PrivateAddress | None:
    """The address of a host's name on the network private: where hosts reach the frontend; None without one."""
    found = choose_interface(_interfaces(database, [host]).get(host.lower(), ()), PRIVATE_NETWORK)
    if found is None or found.network.lower() != PRIVATE_NETWORK:
        return None
    rows = database.rows("SELECT COALESCE(netmask, '') FROM subnets WHERE name = %s", (PRIVATE_NETWORK,))
    return PrivateAddress(found.address, str(rows[0][0]))


def private_address(database: Database, host: str) -> PrivateAddress:
    """As `find_private_address`. StateError for a host without an address there."""
    found = find_private_address(database, host)
    if found is None:
        raise StateError(
            f"{host} has no interface of its name with an address on the network private, on which hosts are "
            f"installed: rocks list host interface {host}, then rocks add host interface {host}, or rocks set host "
            f"interface name {host} DEVICE {host}"
        )
    return found


def host_addresses(database: Database, names: Sequence[str]) -> list[HostAddress]:
    """Address and SSH port of each named host, in the order of `names`; four statements for any number of hosts.

    The address is that of `choose_interface` with the host's `primary_net` (an attribute, `private` by default), else
    its name, by which the resolver then finds it. The port is the attribute `ssh_port`. Unknown
    names are omitted. An invalid port is the `problem` of its host.
    """
    if not names:
        return []
    interfaces = _interfaces(database, names)
    attributes = {
        name: {attribute: found.value for attribute, found in resolved.items()}
        for name, resolved in resolve_attributes(database, names).items()
    }
    local = (find_local_host(database) or "").lower()
    true_names = {name.lower(): name for name in attributes}
    addresses = []
    for name in (true_names[name.lower()] for name in names if name.lower() in true_names):
        primary = value_in(attributes[name], "primary_net")
        chosen = choose_interface(interfaces.get(name.lower(), ()), primary)
        address = chosen.address if chosen else name
        port, problem = 0, ""
        try:
            port = ssh_port(name, attributes[name])
        except StateError as error:  # of this host alone: the others are reached
            problem = str(error)
        addresses.append(HostAddress(name, address, port, name.lower() == local, problem))
    return addresses


def _interfaces(database: Database, names: Sequence[str]) -> dict[str, list[AddressedInterface]]:
    rows = database.rows(
        "SELECT n.Name, COALESCE(i.Name, ''), i.IP, COALESCE(s.name, ''), COALESCE(i.Device, ''),"
        " COALESCE(i.Channel, '') FROM nodes n JOIN networks i ON i.Node = n.ID LEFT JOIN subnets s ON s.ID = i.Subnet"
        " WHERE i.IP IS NOT NULL AND i.IP <> '' AND n.Name IN %s",
        [names],
    )
    found: dict[str, list[AddressedInterface]] = {}
    for row in rows:
        one = AddressedInterface(*map(str, row))
        found.setdefault(one.host.lower(), []).append(one)
    return found


# Reserved addresses, which are not chosen for new interfaces: routers, name servers, BMCs, Slurm's controllers.


SOURCES: tuple[tuple[str, str], ...] = (
    (
        "Value",
        "attributes WHERE Attr IN ('Kickstart_PrivateGateway', 'Kickstart_PublicGateway',"
        " 'Kickstart_PrivateDNSServers', 'Kickstart_PublicDNSServers', 'ipmi_address', 'slurm_server')",
    ),
    *(
        ("Gateway", f"{table} WHERE Gateway <> ''")
        for table in ("global_routes", "os_routes", "appliance_routes", "node_routes")
    ),
)
"""(column, FROM clause); a value may be a list of addresses."""


def reserved_ips(database: Database) -> list[str]:
    """Addresses that are not chosen for a new interface though no interface has them.

    Values that are not addresses are returned, too. A command may still name one of them.
    """
    rows = database.rows(" UNION ALL ".join(f"SELECT {column} FROM {source}" for column, source in SOURCES))
    return split_addresses([str(row[0]) for row in rows])


def split_addresses(texts: Sequence[str]) -> list[str]:
    """What lists of addresses name."""
    return [address for text in texts for address in text.replace(",", " ").split()]
