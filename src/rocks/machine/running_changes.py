"""Bring machines that run to their records, without a restart: CPUs, memory and interfaces.

The record is changed and committed first. What a host cannot do now takes effect at the next start, and a line says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.core.errors import CLASSES, HostError, RocksError, StateError
from rocks.fleet.wire.requests import ChangeDomain
from rocks.inventory.host_requests import ask_facts, error_of, open_fleet, perform_operations
from rocks.inventory.machine_locks import lock_vms
from rocks.machine import records as table
from rocks.machine.domain.documents import connections_of, describe_vms
from rocks.machine.domain.domain import with_lease
from rocks.machine.leases import records as leases
from rocks.machine.leases.plan import SAVED, must_be_restored
from rocks.machine.moves.live_move_rules import domain_on
from rocks.machine.outcomes import Outcomes
from rocks.machine.plan import is_active
from rocks.machine.spec import container_of, links_of, memory_reserve_mb
from rocks.network.filter_plan import plan_filter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.requests import DiskSpec
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine.domain.documents import FiltersOf


@dataclass(frozen=True)
class Aspects:
    """What of a running machine is brought to its record."""

    cpus: bool = False
    memory: bool = False
    interfaces: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything."""
        return self.cpus or self.memory or self.interfaces


ALL = Aspects(cpus=True, memory=True, interfaces=True)


def sync_vms(database: Database, names: Sequence[str], filters_of: FiltersOf) -> Outcomes:
    """Bring the named machines that run to their records; those that are off have nothing to do. Commits.

    StateError, and nothing is done, when a name is not that of a virtual machine.
    """
    table.load_vms(database, names)
    busy = lock_vms(database, names)
    outcomes = apply_records(database, [name for name in names if name not in busy], ALL, filters_of)
    outcomes.failed.update(busy)
    return outcomes


def apply_records(
    database: Database, names: Sequence[str], aspects: Aspects, filters_of: FiltersOf
) -> Outcomes:
    """As `sync_vms`, for these aspects and machines that the caller has locked. Commits."""
    database.commit()
    held = leases.read_leases(database, names)
    machines = {vm.name: vm for vm in table.load_vms(database, names)}
    running = {name: held[name.lower()] for name in machines if _may_run(held.get(name.lower()))}
    outcomes = Outcomes(done={name: () for name in machines if name not in running})
    if not running:
        return outcomes
    hosts = sorted({str(lease.host) for lease in running.values()})
    with open_fleet(database, hosts) as fleet:
        facts = ask_facts(database, fleet, hosts)
        operations: dict[str, list[ChangeDomain]] = {}
        for name, lease in running.items():
            try:
                answer = facts_of(lease, facts)
                if not is_active(answer, name):
                    outcomes.done[name] = ()
                    continue
                operation, notes = _operation(database, machines[name], lease, answer, aspects, filters_of)
                outcomes.done[name] = notes
                operations.setdefault(str(lease.host), []).append(operation)
            except RocksError as error:
                outcomes.failed[name] = error
        database.commit()
        for name, outcome in perform_operations(database, fleet, operations):
            failure = error_of(outcome)
            if failure is not None:
                outcomes.failed[name] = failure
                outcomes.done.pop(name)
            elif not isinstance(outcome, RocksError):
                outcomes.done[name] += outcome.notes
    return outcomes


def change_request(
    database: Database,
    vm: VirtualMachine,
    lease: Lease,
    filters_of: FiltersOf,
    aspects: Aspects = Aspects(),
    disks: Sequence[DiskSpec] = (),
    detached: Sequence[str] = (),
) -> ChangeDomain:
    """The change of a machine that runs on its container. StateError for a document that cannot be made."""
    container, connections = container_of(vm), connections_of(vm)
    lines = describe_vms(database, [vm], filters_of)[vm.name]
    return ChangeDomain(
        name=vm.name,
        token=lease.token,
        xml=with_lease(lines, lease.token, plan_filter(vm, connections), vm.uuid),
        cpus=aspects.cpus,
        memory=aspects.memory,
        interfaces=aspects.interfaces,
        disks=tuple(disks),
        detached=tuple(detached),
        links=links_of(container, connections),
        memory_reserve_mb=memory_reserve_mb(container),
    )


def at_next_start(name: str, error: RocksError) -> str:
    """The line for a recorded change that did not reach the running machine."""
    return (
        f"the change of {name} is recorded and takes effect at its next start: {error}. To try again before: "
        f"rocks sync host vm {name}"
    )


def facts_of(lease: Lease, facts: Mapping[str, HostFacts | RocksError]) -> HostFacts:
    """The facts of the host of a lease. HostError when it does not answer."""
    answer = facts[str(lease.host)]
    if isinstance(answer, RocksError):
        raise HostError(f"{lease.name} runs on {lease.host}, which does not answer ({answer})")
    return answer


def check_place(vm: VirtualMachine, lease: Lease) -> None:
    """StateError for a machine that runs elsewhere than its record says, or is being started or stopped."""
    if vm.container is None or vm.container.name.lower() != str(lease.host).lower():
        raise StateError(f"{vm.name} runs on {lease.host}, and its record names another host")
    if lease.state == SAVED:
        raise must_be_restored(lease)
    if lease.state != "running":
        raise StateError(
            f"{vm.name} is {lease.state}: repeat the command when that has ended (rocks list host vm lease)"
        )


def _may_run(lease: Lease | None) -> bool:
    return lease is not None and lease.is_held and lease.host is not None


def _operation(
    database: Database,
    vm: VirtualMachine,
    lease: Lease,
    facts: HostFacts,
    aspects: Aspects,
    filters_of: FiltersOf,
) -> tuple[ChangeDomain, tuple[str, ...]]:
    """The change, and notes about what waits for the next start."""
    check_place(vm, lease)
    notes: tuple[str, ...] = ()
    cpus = aspects.cpus
    if cpus and vm.host.cpus > facts.cpus:
        cpus = False
        notes += (
            f"{vm.name} keeps its CPUs: {vm.host.cpus} are recorded, and {lease.host} has {facts.cpus}; "
            f"rocks set host vm {vm.name} cpus={facts.cpus}",
        )
    if aspects.interfaces:
        notes += _disk_note(vm, facts)
    requested = Aspects(cpus, aspects.memory, aspects.interfaces)
    return change_request(database, vm, lease, filters_of, requested), notes


def _disk_note(vm: VirtualMachine, facts: HostFacts) -> tuple[str, ...]:
    domain = domain_on(facts, vm.name)
    present = set((domain and domain.disks) or ())
    missing = [disk.path for disk in vm.disks if disk.path not in present]
    if domain is None or domain.disks is None or not missing:
        return ()
    return (
        f"{vm.name} gets {', '.join(missing)} at its next start; rocks add host vm disk attaches a disk before",
    )


def reworded(vm: VirtualMachine, error: RocksError, what: str) -> RocksError:
    """The error of a start as that of a change: the rules of disks say "is not started"."""
    text = str(error).replace(f"{vm.name} is not started", f"{vm.name} {what}")
    return CLASSES[error.family](text, code=error.code)
