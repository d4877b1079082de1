"""Addresses at which hosts are reached: from their interfaces and attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.addresses import Address, choose_address, ssh_port
from rocks.cluster.attributes import KNOWN
from rocks.database.attributes import resolve_attributes
from rocks.database.hosts import find_local_host
from rocks.database.sets import marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def host_addresses(database: Database, names: Sequence[str]) -> list[Address]:
    """Where each of the named hosts is reached, in the order of `names`; four statements, whatever their number.

    The address is that on the host's `primary_net` (an attribute, `private` by default), else that of any of its
    interfaces, else None: its name is then for the resolver. The port is the attribute `ssh_port`. Names that are
    no host are left out. StateError for a port that is none.
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
    for name in (true_names[word.lower()] for word in names if word.lower() in true_names):
        primary = attributes[name].get("primary_net") or KNOWN["primary_net"].default
        address = choose_address(interfaces.get(name.lower(), ()), primary)
        addresses.append(Address(name, address, ssh_port(name, attributes[name]), name.lower() == local))
    return addresses


def _interfaces(database: Database, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    rows = database.rows(
        "SELECT n.Name, s.name, i.IP FROM nodes n JOIN networks i ON i.Node = n.ID"
        " LEFT JOIN subnets s ON s.ID = i.Subnet"
        f" WHERE i.IP IS NOT NULL AND i.IP <> '' AND n.Name IN ({marks(names)}) ORDER BY i.ID",
        names,
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for host, network, address in rows:
        found.setdefault(str(host).lower(), []).append((str(network or ""), str(address)))
    return found
