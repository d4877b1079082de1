"""The states and network connections of virtual machines, as the database and their hosts report them."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, without_errors
from rocks.fleet.wire.requests import InterfaceFact, NetworkFacts, NetworkRequest
from rocks.inventory.host_requests import open_fleet
from rocks.inventory.mac_pool import mac_number
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, SAVED, is_off_on_both, place_of
from rocks.machine import record as table
from rocks.machine.documents import connections_of
from rocks.network.guest_connections import (
    Bridged,
    PhysicalMacvtap,
    VirtualFunction,
    VlanMacvtap,
    long_vlan_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import DomainFact, HostFacts
    from rocks.inventory.records import Interface, VirtualMachine
    from rocks.network.guest_connections import Connection


# The states of virtual machines, as their leases and their hosts report them.

STATUS_SECONDS = 5.0
"""How long a listing waits for a host."""


ABSENT, ERROR_STATE = "nostate", "nostate-error"
OFF = "off"
LISTED_STATES = {"running": "active", "blocked": "active"}


@dataclass(frozen=True)
class VmState:
    """A machine where it may run: the word for its status, that host, and the domain there, if there is one.

    `is_leased` means that the host holds its lease; otherwise it is the container.

    `status`: active, paused, shutdown, shutoff, crashed, or moving (to another host, unless it is off on both by now);
    nostate when the host has no such domain; nostate-error when it has no host or the host does not answer.
    """

    status: str
    host: str | None = None
    domain: DomainFact | None = None
    is_leased: bool = False

    @property
    def state(self) -> str:
        """The status, with `off` for a machine without a domain, and `saved` for one whose memory is saved."""
        if self.domain is not None and self.domain.has_managed_save and self.status == "shutoff":
            return SAVED
        return OFF if self.status == ABSENT else self.status

    @property
    def text(self) -> str:
        """The word in tables, which programs of Rocks' sites read: the status, and `saved`, which Rocks had not."""
        return SAVED if self.state == SAVED else self.status


@dataclass(frozen=True)
class VmStates:
    """The states by the names of the machines, and why hosts could not be asked, by the names of the hosts."""

    states: dict[str, VmState]
    failed: dict[str, RocksError]


def read_host_facts(
    database: Database, hosts: Sequence[str]
) -> tuple[dict[str, HostFacts], dict[str, RocksError]]:
    """The facts of each host, and why the others gave none; all at the same time, for at most `STATUS_SECONDS`."""
    with open_fleet(database, hosts) as fleet:
        answers = contact_hosts(database, fleet, hosts, limit_seconds=STATUS_SECONDS)
    failed: dict[str, RocksError] = {}
    return dict(without_errors(answers.items(), failed)), failed


def show_vm_states(database: Database, containers: Mapping[str, str | None]) -> VmStates:
    """The state of each machine; `containers` maps each machine to its container's name, or None.

    The host is that of the lease, else the container. Each host is asked once, all at the same time, for at most
    `STATUS_SECONDS`.
    """
    held = leases.read_leases(database, list(containers))
    places = {
        name: lease.host if (lease := held.get(name.lower())) and lease.is_held else container
        for name, container in containers.items()
    }
    moving = [one for one in held.values() if one.state == MOVING]
    hosts = sorted({host for host in (*places.values(), *(one.target for one in moving)) if host})
    found, failed = read_host_facts(database, hosts)
    domains = {host: {domain.name: domain for domain in facts.domains} for host, facts in found.items()}
    leased = {name for name in places if (lease := held.get(name.lower())) and lease.is_held}
    states = {name: _state(name, host, domains, name in leased) for name, host in places.items()}
    for lease in moving:
        if not is_off_on_both(lease.name, lease.host, lease.target, {**found, **failed}):
            states[lease.name] = replace(states[lease.name], status=MOVING)
    return VmStates(states, failed)


def _state(
    name: str, host: str | None, domains: Mapping[str, Mapping[str, DomainFact]], is_leased: bool
) -> VmState:
    if host is None or host not in domains:
        return VmState(ERROR_STATE, host, None, is_leased)
    domain = domains[host].get(name)
    if domain is None:
        return VmState(ABSENT, host, None, is_leased)
    return VmState(LISTED_STATES.get(domain.state, domain.state), host, domain, is_leased)


# How virtual machines are connected, as the database and their hosts report it.

NETWORK_SECONDS = 10.0
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
        contact_hosts(database, fleet, fenced, limit_seconds=NETWORK_SECONDS)
        answers = dict(fleet.ask_each(dict.fromkeys(hosts, NetworkRequest()), NETWORK_SECONDS))
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
