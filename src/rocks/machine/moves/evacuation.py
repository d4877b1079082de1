"""Start elsewhere the virtual machines of a host that failed.

Each machine has its own outcome, and one that fails does not stop the others. What was done stays done: the same
command goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import RocksError, StateError
from rocks.inventory.host_requests import is_silent, may_be_off, open_fleet
from rocks.inventory.inventory_lock import unlock_inventory
from rocks.inventory.loaded_host_records import mounts_of, which_are_vms
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_locked
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, move_was_interrupted, repair_or_force
from rocks.machine import record as table
from rocks.machine.add import load_containers
from rocks.machine.moves.drains import capacities_of, check_physical, start_one
from rocks.machine.moves.host_choice import choose_host, taken, why_only_there
from rocks.machine.moves.moves import record_on_host
from rocks.machine.outcomes import Outcomes
from rocks.machine.power import stop_machines
from rocks.storage.volumes import place_records as image_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.leases.fence_command import Force
    from rocks.machine.moves.drains import Start
    from rocks.machine.moves.host_choice import Capacity


def evacuate_host(
    database: Database, host: str, targets: Sequence[str], force: Force, start: Start
) -> Outcomes:
    """Take the machines of a host that does not answer from it, and start on the targets what can start there.

    Those whose disks are all on a NAS can; the others fail with the reason, and keep their leases. A line names those
    that are off. Commits. StateError when the host answers; errors as of `drain_host` for the targets. Then nothing is
    changed.
    """
    check_physical(database, host)
    outcomes = Outcomes()
    capacities = capacities_of(database, host, targets, outcomes)
    check_is_silent(database, host, force)
    held, moving = _held_by(database, host)
    free = _taken_before(database, host)
    outcomes.failed.update(moving)
    machines = table.load_vms(database, which_are_vms(database, [*held, *free]))
    movable = _can_start_elsewhere(database, host, machines, outcomes)
    stopped = stop_machines(database, [vm for vm in movable if vm.name not in free], force=force)
    outcomes.failed.update(stopped.failed)
    outcomes.warnings += stopped.warnings
    for vm in movable:
        if vm.name in stopped.done or vm.name in free:
            outcomes.done[vm.name] = stopped.done.get(vm.name, ())
            capacities = _start_there(database, vm, capacities, start, outcomes)
    outcomes.warnings += _lines_of_others(database, host, outcomes)
    return outcomes


def _lines_of_others(database: Database, host: str, outcomes: Outcomes) -> tuple[str, ...]:
    """How the machines of the host that are off start elsewhere: nothing is taken from the host, nor changed."""
    names = [name for name in table.names_in(database, host) if name not in (outcomes.failed | outcomes.done)]
    found = leases.read_leases(database, names)
    off = [name for name in names if (lease := found.get(name.lower())) is None or not lease.is_held]
    machines = table.load_vms(database, which_are_vms(database, off))
    reasons = _why_bound(database, machines)
    notes: dict[str, tuple[str, ...]] = {}
    for vm in machines:
        how = f", with new disks, since {reasons[vm.name]}" if vm.disks and vm.name in reasons else ""
        notes[vm.name] = (
            f"{vm.name} is off, and stays recorded on {host}; to start it elsewhere{how}: rocks set host vm {vm.name} "
            "physnode=HOST",
        )
    return tuple(Outcomes(notes).joined_lines)


def _held_by(database: Database, host: str) -> tuple[list[str], dict[str, RocksError]]:
    """Machines that the host may be running; and the errors of those whose live migration from or to it has not ended.

    The latter have disks of hosts, and where they run only both hosts of the migration know.
    """
    found = leases.leases_of_hosts(database, [host])
    moving: dict[str, RocksError] = {
        lease.name: move_was_interrupted(lease) for lease in found if lease.state == MOVING
    }
    return [lease.name for lease in found if lease.name not in moving], moving


def _taken_before(database: Database, host: str) -> list[str]:
    """Machines that a command took from the host, and that it did not record elsewhere, since it was killed."""
    fenced = {name.lower() for name, _ in leases.fences_of_hosts(database, [host]).get(host, ())}
    names = [name for name in table.names_in(database, host) if name.lower() in fenced]
    found = leases.read_leases(database, names)
    released = {name for name, lease in found.items() if lease.reason and not lease.is_held}
    return [name for name in names if name.lower() in released]


def _can_start_elsewhere(
    database: Database, host: str, machines: Sequence[VirtualMachine], outcomes: Outcomes
) -> list[VirtualMachine]:
    """Those whose disks are all on a NAS; the others have failed."""
    reasons = _why_bound(database, machines)
    for name, reason in reasons.items():
        outcomes.failed[name] = StateError(
            f"{name} cannot start elsewhere: {reason}. When {host} is back: rocks start host vm {name}"
        )
    return [vm for vm in machines if vm.name not in reasons]


def _why_bound(database: Database, machines: Sequence[VirtualMachine]) -> dict[str, str]:
    """Machine → why it can start on its own host only; those whose disks are all on a NAS are left out."""
    on_nas: dict[str, set[int]] = {}
    for location in image_places.disk_locations(database, [vm.name for vm in machines]):
        if location.nas:
            on_nas.setdefault(location.vm, set()).add(location.number)
    reasons = {vm.name: why_only_there(vm, on_nas.get(vm.name, ())) for vm in machines}
    return {name: reason for name, reason in reasons.items() if reason}


def _start_there(
    database: Database, vm: VirtualMachine, capacities: list[Capacity], start: Start, outcomes: Outcomes
) -> list[Capacity]:
    try:
        ensure_locked(database, [vm.name])
        capacity = choose_host(vm, capacities)
        (target,) = load_containers(database, [capacity.host])
        target = replace(target, mounts=mounts_of(database, [target.name]).get(target.name, ()))
        record_on_host(database, vm, target)
        database.commit()
        unlock_inventory(database)
    except RocksError as error:
        database.rollback()
        outcomes.warnings += outcomes.done.pop(vm.name)
        outcomes.failed[vm.name] = error
        return capacities
    started = start_one(database, vm.name, start)
    outcomes.warnings += started.warnings
    if started.failed:
        outcomes.warnings += outcomes.done.pop(vm.name)
        outcomes.failed[vm.name] = started.failed[vm.name]
    else:
        notes = started.done.get(vm.name, ())
        outcomes.done[vm.name] = (*outcomes.done[vm.name], *notes, f"{vm.name} runs on {target.name} now")
    return taken(vm, capacity, capacities)


def check_is_silent(database: Database, host: str, force: Force) -> None:
    """StateError when the host answers: its machines can be stopped or moved in order then.

    An error is an answer, unless the operator has verified that the host is off.
    """
    with open_fleet(database, [host]) as fleet:
        answer = contact_hosts(database, fleet, [host])[host]
    if isinstance(answer, RocksError) and (is_silent(answer) or force.host_is_off):
        return
    if isinstance(answer, RocksError):
        remedy = repair_or_force(host, f"rocks evacuate host {host}", may_be_off=may_be_off(answer))
        raise StateError(
            f"{host} cannot be asked ({answer}), but may be on; its machines are not taken from it. {remedy}; when it "
            f"answers: rocks drain host {host}"
        )
    raise StateError(
        f"{host} answers; its machines are not taken from it. To move or stop them: rocks drain host {host}"
    )
