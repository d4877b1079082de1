"""Empty a host: its virtual machines are stopped or moved, one by one.

Each machine has its own outcome, and one that fails does not stop the others. What was done stays done: the same
command goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, Code, HostError, RocksError, StateError, UserError
from rocks.inventory.host_requests import open_fleet
from rocks.inventory.loaded_host_records import load_hosts, physical_hosts, which_are_vms
from rocks.inventory.slurm_drains import drain_nodes, known_batch_jobs
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import SAVED, STOPPING
from rocks.machine import record as table
from rocks.machine.add import load_containers
from rocks.machine.moves.drain_live_moves import is_there, lease_there, move_live
from rocks.machine.moves.host_choice import Capacity, choose_host, taken
from rocks.machine.moves.moves import check_movable, move_vm
from rocks.machine.outcomes import Outcomes
from rocks.machine.power import machines_to_stop, stop_machines
from rocks.machine.spec import memory_reserve_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.requests import StopAction
    from rocks.machine.documents import FiltersOf
    from rocks.machine.moves.moves import MoveReporter

    Start = Callable[[Sequence[str]], Outcomes]
    """Starts machines, with the hooks of `start host vm`."""


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
