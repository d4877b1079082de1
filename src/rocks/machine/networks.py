"""How virtual machines are connected, as the database and their hosts report it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError
from rocks.fleet.wire.network import InterfaceFact, NetworkFacts, NetworkRequest
from rocks.inventory.host_requests import open_fleet
from rocks.inventory.mac_pool import mac_number
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import place_of
from rocks.machine import record as table
from rocks.machine.domain.documents import connections_of
from rocks.machine.states import OFF
from rocks.network.guest_connections import (
    Bridged,
    PhysicalMacvtap,
    VirtualFunction,
    VlanMacvtap,
    long_vlan_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Interface, VirtualMachine
    from rocks.network.guest_connections import Connection


ANSWER_SECONDS = 10.0
"""How long the listing waits for a host; longer than for states, because the host loads its netlink library."""

UNKNOWN, UP, DOWN, UNCONNECTED = "unknown", "up", "down", "unconnected"


@dataclass(frozen=True)
class ConnectedInterface:
    """An interface of a machine; `fact` is the report of its host, `long_name` the full name of a shortened link."""

    vm: str
    interface: Interface
    host: str | None
    link: str
    long_name: str
    state: str
    fact: InterfaceFact | None = None


@dataclass(frozen=True)
class VmNetworks:
    """The interfaces in the order of their machines, errors by host, and the number of hosts that were asked."""

    interfaces: tuple[ConnectedInterface, ...]
    failed: dict[str, RocksError] = field(default_factory=dict)
    asked: int = 0


def list_vm_networks(database: Database, names: Sequence[str]) -> VmNetworks:
    """All interfaces of the named virtual machines; each host is asked once, all at the same time."""
    machines = table.load_vms(database, names)
    held = leases.read_leases(database, [vm.name for vm in machines])
    places = {vm.name: place_of(vm, held.get(vm.name.lower())) for vm in machines}
    hosts = sorted({host for host in places.values() if host})
    answers = _ask(database, hosts)
    facts = {
        (host, fact.domain, mac_number(fact.mac)): fact
        for host, answer in answers.items()
        if not isinstance(answer, RocksError)
        for fact in answer.interfaces
    }
    failed = {host: answer for host, answer in answers.items() if isinstance(answer, RocksError)}
    found = [
        _connected(vm, interface, places[vm.name], failed, facts)
        for vm in machines
        for interface in vm.host.interfaces
        if interface.mac and not interface.kvm_disabled
    ]
    return VmNetworks(tuple(found), failed, len(hosts))


def _ask(database: Database, hosts: Sequence[str]) -> dict[str, NetworkFacts | RocksError]:
    with open_fleet(database, hosts) as fleet:
        fenced = [host for host in leases.fences_of_hosts(database, hosts) if host in fleet.names]
        contact_hosts(database, fleet, fenced, limit_seconds=ANSWER_SECONDS)
        answers = dict(fleet.ask_each(dict.fromkeys(hosts, NetworkRequest()), ANSWER_SECONDS))
    return {host: answers[host] for host in hosts}


def _connected(
    vm: VirtualMachine,
    interface: Interface,
    host: str | None,
    failed: dict[str, RocksError],
    facts: dict[tuple[str, str, int | None], InterfaceFact],
) -> ConnectedInterface:
    connection = next((c for c in connections_of(vm) if getattr(c, "mac", None) == interface.mac), None)
    link, long_name = _link(connection)
    fact = facts.get((host or "", vm.name, mac_number(interface.mac or "")))
    if fact is not None:
        link, state = fact.source or link, UP if fact.is_up and fact.has_carrier else DOWN
    elif host is None or host in failed:
        state = UNKNOWN
    else:
        state = OFF if link else UNCONNECTED
    return ConnectedInterface(vm.name, interface, host, link, long_name, state, fact)


def _link(connection: Connection | None) -> tuple[str, str]:
    """The link of the interface, present or planned, and its full name when the name is shortened."""
    if isinstance(connection, VlanMacvtap):
        long_name = long_vlan_name(connection.parent, connection.vlan)
        return connection.device, "" if long_name == connection.device else long_name
    if isinstance(connection, Bridged):
        return connection.bridge, ""
    if isinstance(connection, VirtualFunction):
        return connection.parent, ""
    return (connection.device, "") if isinstance(connection, PhysicalMacvtap) else ("", "")
