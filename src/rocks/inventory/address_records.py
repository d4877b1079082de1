"""Network addresses of hosts, from their interfaces and attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.fleet.settings import HostAddress
from rocks.inventory.addresses import choose_address, ssh_port
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
    """The first address of a host on the network private: where hosts reach the frontend; None without one."""
    rows = database.rows(
        "SELECT i.IP, COALESCE(s.netmask, '') FROM nodes n JOIN networks i ON i.Node = n.ID"
        " JOIN subnets s ON s.ID = i.Subnet WHERE n.Name = %s AND s.name = %s AND i.IP <> '' ORDER BY i.ID LIMIT 1",
        (host, PRIVATE_NETWORK),
    )
    return PrivateAddress(*map(str, rows[0])) if rows else None


def private_address(database: Database, host: str) -> PrivateAddress:
    """As `find_private_address`. StateError for a host without an address there."""
    found = find_private_address(database, host)
    if found is None:
        raise StateError(
            f"{host} has no address on the network private, on which hosts are installed: rocks add host interface "
            f"{host}"
        )
    return found


def host_addresses(database: Database, names: Sequence[str]) -> list[HostAddress]:
    """Address and SSH port of each named host, in the order of `names`; four statements for any number of hosts.

    The address is the one on the host's `primary_net` (an attribute, `private` by default), else that of any of its
    interfaces, else its name, by which the resolver then finds it. The port is the attribute `ssh_port`. Unknown
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
        address = choose_address(interfaces.get(name.lower(), ()), primary) or name
        port, problem = 0, ""
        try:
            port = ssh_port(name, attributes[name])
        except StateError as error:  # of this host alone: the others are reached
            problem = str(error)
        addresses.append(HostAddress(name, address, port, name.lower() == local, problem))
    return addresses


def _interfaces(database: Database, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    rows = database.rows(
        "SELECT n.Name, s.name, i.IP FROM nodes n JOIN networks i ON i.Node = n.ID"
        " LEFT JOIN subnets s ON s.ID = i.Subnet"
        " WHERE i.IP IS NOT NULL AND i.IP <> '' AND n.Name IN %s ORDER BY i.ID",
        [names],
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for host, network, address in rows:
        found.setdefault(str(host).lower(), []).append((str(network or ""), str(address)))
    return found
