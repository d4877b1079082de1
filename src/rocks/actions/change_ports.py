"""The InfiniBand ports of physical hosts, as the database knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.guids import guid_text, read_guid
from rocks.cluster.names import check_plain_word, printable
from rocks.cluster.partition_plan import Port
from rocks.cluster.values import read_number
from rocks.database import ib_ports as table
from rocks.database.vms import which_are_vms
from rocks.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

DEVICE_LONGEST = 64
MOST_PORTS = 254


def add_port(database: Database, host: str, device: str, guid: str, number: str = "1") -> None:
    """Record a port of a physical host. UserError or StateError, and no change, when it cannot be or is taken."""
    check_plain_word("device", device, DEVICE_LONGEST)
    port = Port(host, device, read_number("port", number, 1, MOST_PORTS), read_guid(guid))
    if which_are_vms(database, [host]):
        raise StateError(
            f"{host} is a virtual machine; it gets its GUIDs by itself, ports are those of physical hosts"
        )
    for known in table.read_ports(database, [host]):
        if (known.device, known.number) == (port.device, port.number):
            raise StateError(
                f"{host} has port {known.number} of {known.device} with {guid_text(known.guid)}; "
                f"rocks remove host ibport {host} {known.device}"
            )
    for owner in table.owners_of_guids(database, [port.guid]).values():
        raise StateError(
            f"the GUID {guid_text(port.guid)} is that of {owner}; rocks list host ibport {owner}"
        )
    table.insert_ports(database, [port])


def remove_ports(database: Database, hosts: Sequence[str], device: str | None) -> None:
    """Forget the hosts' ports: those of one device, or all. StateError when a host has none such."""
    known = table.read_ports(database, hosts)
    for host in hosts:
        if not any(port.host == host and device in (None, port.device) for port in known):
            which = f"port of {printable(device)}" if device else "InfiniBand port"
            raise StateError(f"{host} has no {which}; rocks list host ibport {host}")
    table.delete_ports(database, hosts, device)
