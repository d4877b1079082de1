"""A machine leaves a host that is emptied: while it runs, if it can; and unless another command has moved it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import RocksError
from rocks.inventory.host_requests import open_fleet
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.leases import lease as leases
from rocks.leases.lease import lock_vms
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, RUNNING, domain_on
from rocks.machine import record as table
from rocks.machine.moves.host_choice import choose_host, choose_live, taken
from rocks.machine.moves.live import move_running_vm
from rocks.machine.moves.live_ends import RefusedError, settle

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine.documents import FiltersOf
    from rocks.machine.moves.host_choice import Capacity
    from rocks.machine.moves.moves import MoveReporter
    from rocks.machine.outcomes import Outcomes


def is_there(database: Database, name: str, host: str, outcomes: Outcomes) -> bool:
    """Whether the machine is on the host still, now that no other command changes it; else its error, or its place."""
    for error in lock_vms(database, [name], also_moving=True).values():
        outcomes.failed[name] = error
        return False
    place = _place(database, name)
    if place.lower() == host.lower():
        return True
    where = f"is on {place}" if place else "has no host"
    outcomes.done[name] = (f"{name} {where} by now: another command has changed it",)
    return False


def lease_there(database: Database, name: str, host: str) -> Lease | None:
    """The lease under which the host has the machine, as it is now; None when its guest is off."""
    lease = leases.read_leases(database, [name]).get(name.lower())
    database.end_reading()
    is_there = lease is not None and lease.is_held and (lease.host or "").lower() == host.lower()
    return lease if is_there else None


def _place(database: Database, name: str) -> str:
    """The recorded host of the machine, as it is now; empty without one."""
    database.end_reading()  # what is read next is as others have left it
    machines = table.load_vms(database, which_are_vms(database, [name]))
    return next((vm.container.name for vm in machines if vm.container is not None), "")


def move_live(
    database: Database,
    name: str,
    host: str,
    capacities: list[Capacity],
    outcomes: Outcomes,
    reporter: MoveReporter,
    filters_of: FiltersOf,
) -> tuple[list[Capacity], str]:
    """Move it from the host while it runs, when its interrupted move has ended.

    Returns the capacities afterwards, and why it has to be stopped first; empty when it has left, or has failed. Only a
    machine that is refused, and goes on where it was, may be stopped: what a move that was begun has come to is for the
    operator to see.
    """
    (vm,) = table.load_vms(database, [name])
    lease = lease_there(database, name, host)
    ended: list[str] = []
    try:
        if lease is not None and lease.state == MOVING:
            ended = settle(database, vm, lease, reporter=reporter)
            if _place(database, name).lower() != host.lower():
                outcomes.done[name] = tuple(ended)
                return _after(vm, lease.target or "", capacities), ""
            for line in ended:
                reporter.notify(line)
        target = _choose(database, vm, host, capacities).host  # where it was going before may be none of them
        if ended and dry_run.would(target, f"receive {name}, while it runs"):
            lines = []  # the hosts have still what the end of the interrupted move removes
        else:
            lines = move_running_vm(database, name, target, reporter, filters_of)
    except RocksError as error:
        database.rollback()
        if isinstance(error, RefusedError) and _runs_on(database, name, host):
            return capacities, str(error)
        outcomes.failed[name] = error
        return capacities, ""
    outcomes.done[name] = tuple(lines)
    return _after(vm, target, capacities), ""


def _choose(database: Database, vm: VirtualMachine, host: str, capacities: list[Capacity]) -> Capacity:
    """The host that gets it; the present one is asked for its machine type where the others differ in their QEMU."""
    if len({one.qemu for one in capacities}) == 1:
        return choose_host(vm, capacities)
    with open_fleet(database, [host]) as fleet:
        answer = contact_hosts(database, fleet, [host])[host]
    found = domain_on(answer, vm.name)
    return choose_live(vm, "" if found is None else found.machine_type, capacities)


def _after(vm: VirtualMachine, target: str, capacities: list[Capacity]) -> list[Capacity]:
    """The capacities when the host, which need not be one of them, has the machine."""
    chosen = [one for one in capacities if one.host.lower() == target.lower()]
    return taken(vm, chosen[0], capacities) if chosen else capacities


def _runs_on(database: Database, name: str, host: str) -> bool:
    """Whether the machine is to run on the host, and is on its way to no other one."""
    lease = leases.read_leases(database, [name]).get(name.lower())
    is_held = lease is not None and lease.state == RUNNING and (lease.host or "").lower() == host.lower()
    return is_held and _place(database, name).lower() == host.lower()
