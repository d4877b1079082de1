"""Move or evacuate all virtual machines of a host that is drained or has failed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, Code, HostError, RocksError, StateError, UserError
from rocks.inventory.host_records import unlock_inventory
from rocks.inventory.host_requests import is_silent, may_be_off, open_fleet
from rocks.inventory.loaded_host_records import load_hosts, mounts_of, physical_hosts, which_are_vms
from rocks.inventory.slurm_drains import drain_nodes, known_batch_jobs
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked, lock_vms
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import (
    MOVING,
    RUNNING,
    SAVED,
    STOPPING,
    domain_on,
    move_was_interrupted,
    repair_or_force,
)
from rocks.machine import record as table
from rocks.machine.add import load_containers
from rocks.machine.live_move import RefusedError, move_running_vm, settle
from rocks.machine.move import check_movable, move_vm, record_on_host
from rocks.machine.outcomes import Outcomes
from rocks.machine.plans import is_too_old
from rocks.machine.spec import memory_reserve_mb
from rocks.machine.stop import machines_to_stop, stop_machines
from rocks.storage.volumes import place_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.requests import StopAction
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine.documents import FiltersOf
    from rocks.machine.move import MoveReporter
    from rocks.machine.stop import Force

    Start = Callable[[Sequence[str]], Outcomes]
    """Starts machines, with the hooks of `start host vm`."""


# Where the virtual machines of a host go that is emptied, or has failed.


class Capacity(NamedTuple):
    """A host, and its memory in MB that is neither reserved nor given to machines which are recorded there."""

    host: str
    free_mb: int
    qemu: str = ""
    """The version of its QEMU, as in `HostFacts`."""


def choose_host(vm: VirtualMachine, capacities: Sequence[Capacity]) -> Capacity:
    """The host with the most free memory. StateError when none has enough for the machine."""
    best = max(capacities, key=lambda capacity: capacity.free_mb)
    if best.free_mb < vm.memory_mb:
        hosts = ", ".join(capacity.host for capacity in capacities)
        raise StateError(
            f"{vm.name} has {vm.memory_mb} MB of memory, and none of {hosts} has that much left ({best.host} has "
            f"{max(0, best.free_mb)} MB, the most); name other hosts by to="
        )
    return best


def choose_live(vm: VirtualMachine, machine_type: str, capacities: Sequence[Capacity]) -> Capacity:
    """As `choose_host`, for a machine that moves while it runs: hosts whose QEMU knows its machine type come first."""
    knowing = [one for one in capacities if not is_too_old(one.qemu, machine_type)]
    enough = any(one.free_mb >= vm.memory_mb for one in knowing)
    return choose_host(vm, knowing if enough else capacities)


def taken(vm: VirtualMachine, capacity: Capacity, capacities: Sequence[Capacity]) -> list[Capacity]:
    """The capacities, when the machine is there as well."""
    return [
        one._replace(free_mb=one.free_mb - vm.memory_mb) if one == capacity else one for one in capacities
    ]


def why_only_there(vm: VirtualMachine, on_nas: Collection[int]) -> str:
    """Why the machine can start on its failed host only: what it has there; empty when it can start elsewhere.

    `on_nas` has the numbers of disks that a NAS has.
    """
    local = [disk.specification for number, disk in enumerate(vm.disks) if number not in on_nas]
    if local:
        return f"its disk {local[0]} is on that host alone"
    return "" if vm.disks else "it has no disk"


# Empty a host: its virtual machines are stopped or moved, one by one.
#
# Each machine has its own outcome, and one that fails does not stop the others. What was done stays done: the same
# command goes on.

_OFF_BY_NOW = "{} is off by now: another command has stopped it"
_POLL_SECONDS = 0.5


class Drain(NamedTuple):
    """The host to empty, the hosts that get its machines (none: they are only stopped), and how they are stopped.

    `live`: those that can are moved while they run; it needs targets.
    """

    host: str
    targets: tuple[str, ...]
    action: StopAction
    deadline_seconds: int
    live: bool = False


class DrainCallbacks(NamedTuple):
    """What a drain needs of its command: how moves report, how machines are started, and the packet filters."""

    reporter: MoveReporter
    start: Start
    filters_of: FiltersOf


def drain_host(database: Database, drain: Drain, callbacks: DrainCallbacks) -> Outcomes:
    """Stop the running machines of the host; with targets, move all of them, and start those that ran.

    With `live`, those that can be moved while they run are not stopped; of one that cannot, a line says why. One whose
    live move was begun and has failed is not stopped either. A machine that certainly cannot be moved is not stopped;
    one whose move fails is started where it was, if it ran. One that has left the host meanwhile is left as it is.

    Commits. UserError and StateError for targets that get no machines, StateError while nothing can be started since a
    restored database could not be compared with the hosts, and HostError when no target answers; then nothing is
    changed.
    """
    check_physical(database, drain.host)
    if drain.targets:
        ensure_epoch(database, callbacks.reporter.notify)  # what was stopped could not start again
    names = table.names_in(database, drain.host)
    recorded = {name.lower() for name in names}
    found = leases.leases_of_hosts(database, [drain.host])
    held = [lease.name for lease in found if lease.state != SAVED]
    running = {name.lower() for name in held}
    outcomes = Outcomes()
    capacities = capacities_of(database, drain.host, drain.targets, outcomes) if drain.targets else []
    database.end_reading()
    # else Slurm gives the free host to the next job
    drain_nodes([drain.host], "rocks drain host", callbacks.reporter.notify)
    _stop(database, [name for name in held if name.lower() not in recorded], drain, outcomes)
    _leave_saved(drain, [lease.name for lease in found if lease.state == SAVED], outcomes)
    for name in names:
        if name in outcomes.failed or name in outcomes.done:
            continue
        capacities = _drain_one(
            database, name, name.lower() in running, drain, callbacks, capacities, outcomes
        )
        failed = outcomes.failed.get(name)
        if drain.live and failed is not None and failed.code is Code.IMAGES_FOLLOW:
            callbacks.reporter.notify("No other machine is moved: its images could not follow it either")
            return outcomes
    if not drain.targets:
        _count_stopped_by_others(database, drain, outcomes)
    return outcomes


def _drain_one(
    database: Database,
    name: str,
    was_running: bool,
    drain: Drain,
    callbacks: DrainCallbacks,
    capacities: list[Capacity],
    outcomes: Outcomes,
) -> list[Capacity]:
    """Stop or move a machine, which others may have stopped, started or moved meanwhile; the capacities afterwards."""
    if not (was_running or drain.targets) or not is_there(database, name, drain.host, outcomes):
        return capacities
    lease = lease_there(database, name, drain.host)
    if lease is None:
        if was_running:
            outcomes.done[name] = (_OFF_BY_NOW.format(name),)
        return (
            _move(database, name, capacities, outcomes, callbacks.reporter) if drain.targets else capacities
        )
    if lease.state == SAVED:
        _leave_saved(drain, [name], outcomes)
        return capacities
    why = ""
    if drain.live:
        capacities, why = move_live(
            database, name, drain.host, capacities, outcomes, callbacks.reporter, callbacks.filters_of
        )
        if not why:
            return capacities
    if drain.targets and not _can_leave(database, name, drain.host, capacities, outcomes):
        return capacities
    if why:
        callbacks.reporter.notify(f"{name} is stopped for its move: {why}")
    if not _stop(database, [name], drain, outcomes):
        return capacities
    if dry_run.is_on():
        return _would_move(database, name, drain.host, capacities, outcomes)
    if drain.targets:
        capacities = _move(database, name, capacities, outcomes, callbacks.reporter)
        _start_again(database, name, drain.host, callbacks.start, outcomes)
    return capacities


def _count_stopped_by_others(database: Database, drain: Drain, outcomes: Outcomes) -> None:
    """What another command is stopping has nothing left to be done when it is off; it is waited for."""
    deadline = Deadline(0 if dry_run.is_on() else drain.deadline_seconds)
    busy = [name for name, error in outcomes.failed.items() if isinstance(error, BusyError)]
    while busy:
        found = leases.read_leases(database, busy)
        database.end_reading()
        off = [name for name in busy if (lease := found.get(name.lower())) is not None and not lease.is_held]
        for name in off:
            del outcomes.failed[name]
            outcomes.done[name] = (_OFF_BY_NOW.format(name),)
        if deadline.passed() or not any(lease.state == STOPPING for lease in found.values()):
            return
        busy = [name for name in busy if name not in off]
        wait_seconds(_POLL_SECONDS)


def _leave_saved(drain: Drain, names: Sequence[str], outcomes: Outcomes) -> None:
    """What is saved needs no host that is up; but it cannot be moved."""
    for name in names:
        if drain.targets:
            outcomes.failed[name] = StateError(
                f"{name} is saved on {drain.host}, and its memory cannot be moved; restore it first (rocks restore "
                f"host vm {name}), or discard what its guest had in memory: rocks stop host vm {name} saved=remove"
            )
        else:
            outcomes.done[name] = (f"{name} is saved on {drain.host}, and stays so",)


def _can_leave(
    database: Database, name: str, host: str, capacities: list[Capacity], outcomes: Outcomes
) -> bool:
    """Whether a machine that runs may be moved; it is not stopped for nothing."""
    try:
        (vm,) = table.load_vms(database, [name])
        check_movable(database, name, choose_host(vm, capacities).host)
    except RocksError as error:
        outcomes.failed[name] = type(error)(f"{error}; it was not stopped, and is on {host}", code=error.code)
        return False
    finally:
        database.end_reading()  # what follows sees what others have changed meanwhile
    return True


def _stop(database: Database, names: Sequence[str], drain: Drain, outcomes: Outcomes) -> bool:
    """Whether all have stopped; a line for each that has."""
    if not names:
        return True
    known = which_are_vms(database, names)
    removed = [name for name in names if name not in known]
    machines = machines_to_stop(database, known, removed)
    stopped = stop_machines(database, machines, drain.action, drain.deadline_seconds)
    for name, notes in stopped.done.items():
        outcomes.done[name] = (*notes, f"{name} is stopped")
    outcomes.failed.update(stopped.failed)
    outcomes.warnings += stopped.warnings
    return not stopped.failed


def _move(
    database: Database, name: str, capacities: list[Capacity], outcomes: Outcomes, reporter: MoveReporter
) -> list[Capacity]:
    """Move it to the host with the most free memory; the capacities afterwards."""
    (vm,) = table.load_vms(database, [name])
    try:
        capacity = choose_host(vm, capacities)
        lines = move_vm(database, name, capacity.host, reporter)
    except RocksError as error:
        database.rollback()
        outcomes.done.pop(name, None)
        outcomes.failed[name] = error
        return capacities
    outcomes.done[name] = (*outcomes.done.get(name, ()), *lines)
    return taken(vm, capacity, capacities)


def _would_move(
    database: Database, name: str, host: str, capacities: list[Capacity], outcomes: Outcomes
) -> list[Capacity]:
    """In a dry run the machine still runs, so its host would not let it go."""
    if not capacities:
        return capacities
    (vm,) = table.load_vms(database, [name])
    try:
        capacity = choose_host(vm, capacities)
    except StateError as error:
        outcomes.failed[name] = error
        return capacities
    dry_run.would(host, f"move {name} to {capacity.host}, and start it there")
    return taken(vm, capacity, capacities)


def start_one(database: Database, name: str, start: Start) -> Outcomes:
    """Start one machine; what prevents all starts is its error, and the outcomes of the others are kept."""
    try:
        return start([name])
    except RocksError as error:
        database.rollback()
        return Outcomes(failed={name: error})


def _start_again(database: Database, name: str, host: str, start: Start, outcomes: Outcomes) -> None:
    """Start a machine that ran; one that could not be moved starts where it was, and has failed all the same."""
    started = start_one(database, name, start)
    failed = outcomes.failed.get(name)
    if failed is not None:
        how = f"it runs again on {host}" if not started.failed else f"{started.failed[name]}"
        outcomes.failed[name] = type(failed)(f"{failed}; {how}", code=failed.code)
    elif started.failed:
        done = outcomes.done.pop(name)
        outcomes.warnings += done
        outcomes.failed[name] = started.failed[name]
    else:
        notes = started.done.get(name, ())
        outcomes.done[name] = (*outcomes.done[name], *notes, f"{name} runs again")


def capacities_of(
    database: Database, host: str, targets: Sequence[str], outcomes: Outcomes
) -> list[Capacity]:
    """What the hosts that answer have left; a warning names the others. HostError when no host is left.

    A host with a batch job of Slurm gets no machine.
    """
    if host.lower() in {target.lower() for target in targets}:
        raise UserError(f"to= names {host} itself; name other hosts")
    containers = load_containers(database, targets)
    with open_fleet(database, targets) as fleet:
        facts = contact_hosts(database, fleet, list(targets))
    given = table.recorded_memory_mb(database, targets)
    database.end_reading()
    jobs = known_batch_jobs(targets)
    capacities, errors = [], []
    for container in containers:
        answer = facts[container.name]
        if isinstance(answer, RocksError):
            errors.append(f"{container.name} gets no machine: {answer}")
        elif container.name in jobs:
            errors.append(
                f"{container.name} gets no machine: Slurm has {' and '.join(jobs[container.name])} there"
            )
        else:
            free = answer.memory_mb - memory_reserve_mb(container) - given.get(container.name.lower(), 0)
            capacities.append(Capacity(container.name, free, answer.qemu))
    if not capacities:
        raise HostError(f"none of the hosts can get the machines: {'; '.join(errors)}")
    outcomes.warnings += tuple(f"Warning: {error}" for error in errors)
    return capacities


def other_containers(database: Database, host: str) -> tuple[str, ...]:
    """All VM containers but this host. StateError when there is none."""
    hosts = load_hosts(database, physical_hosts(database))
    found = tuple(one.name for one in hosts if one.is_true("kvm") and one.name.lower() != host.lower())
    if not found:
        raise StateError(
            f"there is no other VM container than {host}; rocks set host attr HOST kvm true makes a host one"
        )
    return found


def check_physical(database: Database, name: str) -> None:
    """UserError for a virtual machine."""
    (host,) = load_hosts(database, [name])
    if host.is_virtual:
        raise UserError(f"host {name} is a virtual machine; name a physical host")


# A machine leaves a host that is emptied: while it runs, if it can; and unless another command has moved it.


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


# Start elsewhere the virtual machines of a host that failed.
#
# Each machine has its own outcome, and one that fails does not stop the others. What was done stays done: the same
# command goes on.


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
    """The machines whose disks are all on a NAS; the others have failed."""
    reasons = _why_bound(database, machines)
    for name, reason in reasons.items():
        outcomes.failed[name] = StateError(
            f"{name} cannot start elsewhere: {reason}. When {host} is back: rocks start host vm {name}"
        )
    return [vm for vm in machines if vm.name not in reasons]


def _why_bound(database: Database, machines: Sequence[VirtualMachine]) -> dict[str, str]:
    """Machine → why it can start on its own host only; those whose disks are all on a NAS are left out."""
    on_nas: dict[str, set[int]] = {}
    for location in place_records.disk_locations(database, [vm.name for vm in machines]):
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
