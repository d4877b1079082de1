"""Have the hosts of machines do what a command asks: stop, pause, resume, save, change.

What is asked of each machine is decided by its record and its lease. What is meant is recorded and committed before any
host is asked (decision 2). Each host gets one request, all at once, and what it reports is recorded. The caller has
locked the machines; each has its own outcome. A start, which decides more, uses `ask_hosts` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError
from rocks.inventory.host_requests import notes_of, open_fleet
from rocks.leases import lease as leases
from rocks.leases.machine_requests import perform_operations
from rocks.leases.plan import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.core.errors import RocksError
    from rocks.database.connection import Database
    from rocks.fleet.fleet import Fleet
    from rocks.fleet.wire.requests import Operation, OperationOutcome
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine.outcomes import Outcomes


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
