"""The VLAN devices of hosts for their virtual machines: planned from the database, created on the hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.fleet.wire.requests import LinkPlan, SyncLinksRequest
from rocks.inventory.host_requests import ask_each
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.leases import lease as leases
from rocks.machine import record as table
from rocks.machine.documents import connections_of
from rocks.machine.spec import links_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.requests import LinkOutcome, LinkSpec
    from rocks.inventory.records import VirtualMachine

_OURS = ("vlan", "local_bridge")


def vlans_of(vm: VirtualMachine) -> tuple[LinkSpec, ...]:
    """The devices that the system creates for the machine on its container."""
    if vm.container is None:
        return ()
    return tuple(link for link in links_of(vm.container, connections_of(vm)) if link.kind in _OURS)


def hosts_of(database: Database, names: Sequence[str]) -> list[str]:
    """The named physical hosts, and the containers of named virtual machines; each once."""
    containers = {vm.name: vm.container for vm in table.load_vms(database, which_are_vms(database, names))}
    found = [
        container.name if (container := containers.get(name)) else name
        for name in names
        if containers.get(name, True) is not None
    ]
    return list(dict.fromkeys(found))


def plan_networks(database: Database, hosts: Sequence[str]) -> dict[str, SyncLinksRequest]:
    """Host → what it needs for the machines whose leases it holds, and for those that arrive while they run.

    What an arriving machine needs is as the host's agent has made it, until the arrival is recorded.
    """
    held = leases.leases_of_hosts(database, hosts)
    known = which_are_vms(database, [lease.name for lease in held])
    machines = {vm.name.lower(): vm for vm in table.load_vms(database, known)}
    networks = {}
    for host in hosts:
        plans, retained = [], []
        for lease in held:
            vm = machines.get(lease.name.lower())
            if host.lower() not in ((lease.host or "").lower(), (lease.target or "").lower()):
                continue
            if vm is not None and vm.container is not None and vm.container.name == host:
                plans.append(LinkPlan(vm.name, vlans_of(vm)))
            else:
                retained.append(lease.name)
        networks[host] = SyncLinksRequest(tuple(plans), tuple(retained))
    return networks


def sync_vlans(
    database: Database, hosts: Sequence[str]
) -> Iterator[tuple[str, tuple[LinkOutcome, ...] | RocksError]]:
    """(host, outcome of each device, or the host's error), as the hosts reply."""
    for host, answer in ask_each(database, plan_networks(database, hosts)):
        yield host, answer if isinstance(answer, RocksError) else answer.outcomes
