"""Have the hosts of machines do what a command asks, and bring machines that run to their records."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, RocksError, StateError
from rocks.fleet.wire.requests import ChangeDomain
from rocks.inventory.host_requests import notes_of, open_fleet
from rocks.leases import lease as leases
from rocks.leases.lease import lock_vms
from rocks.leases.machine_requests import perform_operations
from rocks.leases.plan import RUNNING, SAVED, STOPPING, must_be_restored, place_of
from rocks.machine import record as table
from rocks.machine.documents import connections_of, describe_vms
from rocks.machine.domain import with_lease
from rocks.machine.outcomes import Outcomes
from rocks.machine.spec import container_of, links_of, memory_reserve_mb, unconnected_notes
from rocks.network.filter_plan import plan_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.fleet import Fleet
    from rocks.fleet.wire.requests import DiskSpec, Operation, OperationOutcome
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine.documents import FiltersOf


# Have the hosts of machines do what a command asks: stop, pause, resume, save, change.
#
# What is asked of each machine is decided by its record and its lease. What is meant is recorded and committed before
# any host is asked (decision 2). Each host gets one request, all at once, and what it reports is recorded. The caller
# has locked the machines; each has its own outcome. A start, which decides more, uses `ask_hosts` alone.


class Asked(NamedTuple):
    """What a host is asked about one machine, which `operation.name` names."""

    host: str
    operation: Operation


class Settler:
    """What becomes of an outcome that a host reports."""

    def settle(self, asked: Asked, outcome: OperationOutcome | RocksError) -> tuple[str, ...]:
        """The notes of a machine's outcome. RocksError when it failed."""
        return notes_of(outcome)


class Verb(Settler):
    """What a command asks of machines: `request`, `intend`, `settle`, `record`, in this order."""

    def request(self, vm: VirtualMachine, lease: Lease | None) -> Asked | None:
        """What is asked of the machine's host; None when nothing is to be done. RocksError: the machine fails."""
        raise NotImplementedError

    def intend(self, database: Database, asked: Sequence[Asked]) -> None:
        """Record what is meant; it is committed before a host is asked."""

    def record(self, database: Database, outcomes: Outcomes) -> None:
        """Record what the hosts reported; it is committed."""


def converge(
    database: Database,
    machines: Iterable[VirtualMachine],
    verb: Verb,
    outcomes: Outcomes,
    progress: Progress | None = None,
) -> None:
    """Do the verb with the machines, and add the outcome of each to `outcomes`; those that failed before are left out.

    Commits. After an interrupt the database has what was meant, which the next command settles.
    """
    left = [vm for vm in machines if vm.name not in outcomes.failed]
    held = leases.read_leases(database, [vm.name for vm in left], lock=True)
    asked: list[Asked] = []
    for vm in left:
        with outcomes.of(vm.name):
            one = verb.request(vm, held.get(vm.name.lower()))
            if one is None:
                outcomes.done[vm.name] = ()
            else:
                asked.append(one)
    verb.intend(database, asked)
    database.commit()
    with open_fleet(database, sorted({one.host for one in asked})) as fleet:
        ask_hosts(database, fleet, asked, verb, outcomes, progress)
    verb.record(database, outcomes)
    database.commit()


def ask_hosts(
    database: Database,
    fleet: Fleet,
    asked: Iterable[Asked],
    settler: Settler,
    outcomes: Outcomes,
    progress: Progress | None = None,
) -> None:
    """Have the hosts do what is asked, and add each outcome, as it is settled, when its host has answered."""
    by_host: dict[str, list[Operation]] = {}
    by_name: dict[str, Asked] = {}
    for one in asked:
        by_host.setdefault(one.host, []).append(one.operation)
        by_name[one.operation.name] = one
    for name, outcome in perform_operations(database, fleet, by_host, progress):
        with outcomes.of(name):
            outcomes.done[name] = settler.settle(by_name[name], outcome)


def running_place(vm: VirtualMachine, lease: Lease | None) -> str:
    """The host on which the machine may be running. StateError without one."""
    place = place_of(vm, lease)
    if place is None:
        raise StateError(
            f"host {vm.name} does not have a physical host, so it does not run; give it one: rocks set host vm "
            f"{vm.name} physnode=HOST"
        )
    return place


# Bring machines that run to their records, without a restart: CPUs, memory and interfaces.
#
# The record is changed and committed first. What a host cannot do now takes effect at the next start, and a line says
# so.


@dataclass(frozen=True)
class Aspects:
    """What of a running machine is brought to its record."""

    cpus: bool = False
    memory: bool = False
    interfaces: bool = False


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
    outcomes = Outcomes()
    converge(database, table.load_vms(database, names), _Change(database, aspects, filters_of), outcomes)
    return outcomes


class _Change(Verb):
    """A machine that does not run has nothing to do."""

    def __init__(self, database: Database, aspects: Aspects, filters_of: FiltersOf) -> None:
        self._database, self._aspects, self._filters_of = database, aspects, filters_of
        self._running: dict[str, Lease] = {}
        self._notes: dict[str, tuple[str, ...]] = {}

    def request(self, vm: VirtualMachine, lease: Lease | None) -> Asked | None:
        if lease is None or not lease.is_held or lease.host is None or lease.state == SAVED:
            return None
        check_place(vm, lease)
        self._running[vm.name] = lease
        self._notes[vm.name] = unconnected_notes(vm, connections_of(vm)) if self._aspects.interfaces else ()
        return Asked(lease.host, change_request(self._database, vm, lease, self._filters_of, self._aspects))

    def settle(self, asked: Asked, outcome: OperationOutcome | RocksError) -> tuple[str, ...]:
        name = asked.operation.name
        return (*settled_change(self._running[name], outcome), *self._notes[name])


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
    container, connections = container_of(vm, "is not changed"), connections_of(vm)
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
        host=container.name,
    )


def at_next_start(name: str, error: RocksError) -> str:
    """The line for a recorded change that did not reach the running machine."""
    return (
        f"the change of {name} is recorded and takes effect at its next start: {error}. To try again before: "
        f"rocks sync host vm {name}"
    )


def settled_change(lease: Lease, outcome: OperationOutcome | RocksError) -> tuple[str, ...]:
    """The notes about a change. The error of the host of the lease, HostError when it does not answer."""
    if isinstance(outcome, RocksError):
        raise HostError(f"{lease.name} runs on {lease.host}, which does not answer ({outcome})")
    return notes_of(outcome)


def check_place(vm: VirtualMachine, lease: Lease) -> None:
    """StateError for a machine that may run elsewhere than its record says, or is being started or stopped."""
    if vm.container is None or vm.container.name.lower() != str(lease.host).lower():
        raise StateError(
            f"{vm.name} may be running on {lease.host}, and its record names another host; stop it first: rocks stop "
            f"host vm {vm.name}"
        )
    if lease.state == SAVED:
        raise must_be_restored(lease)
    if lease.state != RUNNING:
        verb = "stop" if lease.state == STOPPING else "start"
        raise StateError(
            f"{vm.name} is {lease.state}, by a command that was interrupted or gave up: rocks {verb} host vm {vm.name} "
            "completes that; then repeat the command"
        )
