"""The InfiniBand ports of hosts: recorded by an operator, read from the hosts, compared with the database."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import check_plain_name, printable
from rocks.core.values import read_number
from rocks.fleet.wire.infiniband import InfinibandRequest
from rocks.fleet.wire.received import LONGEST_ADAPTER, MAX_PORTS
from rocks.inventory.host_requests import ask_each
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.network.infiniband import partition_records as partitions
from rocks.network.infiniband import port_records as table
from rocks.network.infiniband.adapter_comparison import check_host, ports_of_facts
from rocks.network.infiniband.partition_rules import Port
from rocks.network.infiniband.pkeys import FULL_BIT, guid_text, read_guid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.core.check_lines import SiteCheck
    from rocks.database.connection import Database
    from rocks.network.infiniband.partition_rules import Port


def add_port(database: Database, host: str, device: str, guid: str, number: str = "1") -> None:
    """Record a port of a physical host. UserError or StateError, and no change, when it is invalid or in use."""
    check_plain_name("device", device, LONGEST_ADAPTER)
    port = Port(host, device, read_number("port", number, 1, MAX_PORTS), read_guid(guid))
    if which_are_vms(database, [host]):
        raise StateError(
            f"{host} is a virtual machine, whose GUIDs are assigned automatically; ports belong to physical hosts"
        )
    for known in table.read_ports(database, [host]):
        if (known.device, known.number) == (port.device, port.number):
            raise StateError(
                f"{host} has port {known.number} of {known.device} with {guid_text(known.guid)}; "
                f"rocks remove host ibport {host} device={known.device}"
            )
    for owner in table.owners_of_guids(database, [port.guid]).values():
        raise StateError(
            f"the GUID {guid_text(port.guid)} is in use by {owner}; rocks list host ibport {owner}"
        )
    table.insert_ports(database, [port])


def remove_ports(database: Database, hosts: Sequence[str], device: str | None) -> None:
    """Remove the ports of the hosts: those of one device, or all. StateError when a host has none."""
    known = table.read_ports(database, hosts)
    for host in hosts:
        if not any(port.host == host and device in (None, port.device) for port in known):
            which = f"port of {printable(device)}" if device else "InfiniBand port"
            raise StateError(f"{host} has no {which}; rocks list host ibport {host}")
    table.delete_ports(database, hosts, device)


def record_ports(database: Database, hosts: Sequence[str]) -> Iterator[tuple[str, list[Port] | RocksError]]:
    """Replace the recorded ports of the hosts by those that they report; yields (host, ports or error).

    The ports of each host are committed as it answers. StateError for a host with a GUID of another host.
    """
    for host, answer in ask_each(database, dict.fromkeys(hosts, InfinibandRequest())):
        if isinstance(answer, RocksError):
            yield host, answer
            continue
        ports = ports_of_facts(host, answer)
        guids = Counter(port.guid for port in ports)
        twice = next((guid for guid, count in guids.items() if count > 1), None)
        if twice is not None:
            yield host, StateError(f"{host} reports the GUID {guid_text(twice)} for {guids[twice]} ports")
            continue
        owners = table.owners_of_guids(database, list(guids))
        others = sorted({owner for owner in owners.values() if owner != host})
        if others:
            yield (
                host,
                StateError(
                    f"{host} has a port with a GUID of {others[0]}; rocks list host ibport {others[0]}"
                ),
            )
            continue
        table.delete_ports(database, [host])
        table.insert_ports(database, ports)
        database.commit()  # the next host may take its time
        yield host, ports


def check_infiniband(
    database: Database, hosts: Sequence[str], tried_vf: str = ""
) -> Iterator[tuple[str, list[SiteCheck] | RocksError]]:
    """(host, its lines or error). With `tried_vf`, a free function of the one host is configured and restored."""
    if tried_vf and len(hosts) != 1:
        raise UserError("function= needs exactly one host")
    members = {partition.pkey: partition for partition in partitions.read_partitions(database)}
    running = partitions.running_under(database, list(members))
    machines = {name: key for key, name, _ in running}
    for host, answer in ask_each(database, dict.fromkeys(hosts, InfinibandRequest(tried_vf))):
        if isinstance(answer, RocksError):
            yield host, answer
            continue
        keys = {
            key | FULL_BIT if members[key].membership == "full" else key
            for key, _, place in running
            if place.lower() == host.lower()
        }
        yield host, check_host(answer, table.read_ports(database, [host]), keys, members, machines)
