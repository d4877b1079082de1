"""Operations on domains, as requested: each is planned, carried out and reported."""

from __future__ import annotations

import contextlib
import sys
import traceback
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from rocks.core.errors import RocksError, StateError
from rocks.core.files import file_error
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.errors import AgentError, as_agent_error
from rocks.fleet.wire.facts import DomainFact
from rocks.fleet.wire.requests import (
    ChangeDomain,
    EndArrival,
    EndDeparture,
    FreezeGuest,
    GrowDisk,
    MakeSnapshot,
    Operation,
    OperationOutcome,
    PauseDomain,
    PerformReply,
    PerformRequest,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    StartDomain,
    StopDomain,
    ThawGuest,
)
from rocks.machine import plans
from rocks.machine.host.change import change_domain, change_facts, grow_disk, plan_change
from rocks.machine.host.disks import read_disk, remove_placeholders
from rocks.machine.host.facts import keep_out
from rocks.machine.host.guest_network import release_links, release_vfs
from rocks.machine.host.guest_partitions import release_partition
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.device_xml import changed_lease
from rocks.machine.host.libvirt.driver import other_spelling
from rocks.machine.host.libvirt.freezing import freeze_guest, thaw_guest
from rocks.machine.host.libvirt.power import ensure_stopped
from rocks.machine.host.saves import forget_save, renew_identities, save_domain, save_facts
from rocks.machine.host.snapshots import make_snapshot, observe_snapshot, restore_snapshot
from rocks.machine.host.start import Turn, secure, start_domain, start_steps
from rocks.machine.limits import LOCK_SECONDS
from rocks.machine.plans import Observed, OperationPlan

# Ends machines on their host, each under its lock: the domain, its lease, its devices; or restarts their guests.


def end_domain(host: Host, operation: StopDomain) -> Change:
    """End the domain and its lease: no start under it, or under an older one, is admitted afterwards.

    Without a domain there is nothing to end, whichever later lease or epoch the host has seen: no start is in progress,
    since the caller holds the lock of the machine.
    """
    name = operation.name
    disks: Tuple[str, ...] = ()
    with contextlib.suppress(StateError):  # there is no domain, or it ends by itself just now
        disks = host.domains().document(name).disks
    change = ensure_stopped(host.domains(), operation, lambda token: host.leases.end(name, token))
    forget_save(host, name)
    with contextlib.suppress(RocksError):  # image storage uses or replaces one that stays
        remove_placeholders(host, disks)
    links = release_links(host, name, operation.links)
    notes = release_partition(host, name) + release_vfs(host, name)
    return Change(change.changed or links.changed, change.notes + links.notes + notes)


def restart_guest(host: Host, operation: StopDomain) -> Change:
    """Reboot or reset the guest; its domain and its lease stay."""
    (host.domains().reset if operation.action == "reset" else host.domains().reboot)(operation.name)
    return CHANGED


# Operations on domains, each under the machine's lock and lease; different machines in parallel.

_THREADS = 4


def perform(host: Host, request: PerformRequest) -> PerformReply:
    """Do the operations: those of one name in order, up to four names at once. A failure stops no other operation."""
    if request.assumed_disks is not None:
        return PerformReply(tuple(plan_all(host, request)))
    fenced = keep_out(host, request.epoch, request.fences)
    outcomes: Dict[int, OperationOutcome] = {}
    queues: Dict[str, List[Tuple[int, Operation, Turn]]] = {}
    turn = None
    for number, operation in enumerate(request.operations):
        turn = Turn(turn)
        queues.setdefault(operation.name, []).append((number, operation, turn))

    def run_queue(queue: List[Tuple[int, Operation, Turn]]) -> None:
        for number, operation, turn in queue:
            outcomes[number] = _outcome(host, operation, turn)

    _run_parallel(run_queue, list(queues.values()))
    return PerformReply(tuple(outcomes[number] for number in range(len(request.operations))), fenced)


def plan_all(host: Host, request: PerformRequest) -> Iterator[OperationOutcome]:
    """What the operations would do, each alone; nothing is done. Disks of `assumed_disks` count as devices."""
    promised: Dict[str, int] = {}
    for operation in request.operations:
        try:
            plan = _plan(host, operation, request, promised)
            yield OperationOutcome(operation.name, bool(plan.steps), plan.notes, steps=plan.steps)
        except Exception as error:
            yield OperationOutcome(operation.name, changed=False, error=error_of(error))


def _plan(
    host: Host, operation: Operation, request: PerformRequest, promised: Dict[str, int]
) -> OperationPlan:
    """The plan of one operation; `promised` is the memory of the starts before it, and then of this one, too."""
    if isinstance(operation, StartDomain):
        return OperationPlan(start_steps(host, operation, request, promised))
    return _admit_and_plan(host, operation, host.leases.check)


def error_of(error: Exception) -> AgentError:
    """The error for a reply. An exception other than RocksError is a bug; its traceback goes to standard error."""
    if isinstance(error, OSError):
        error = file_error(error) or error
    if isinstance(error, RocksError):
        return as_agent_error(error)
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    return AgentError("bug", f"{type(error).__name__}: {error}; please report this")


def _run_parallel(
    run_queue: Callable[[List[Tuple[int, Operation, Turn]]], None],
    queues: List[List[Tuple[int, Operation, Turn]]],
) -> None:
    if len(queues) < 2:
        for queue in queues:
            run_queue(queue)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(run_queue, queue) for queue in queues]:
            done.result()


def _outcome(host: Host, operation: Operation, turn: Turn) -> OperationOutcome:
    try:
        change = _do(host, operation, turn)
    except Exception as error:
        return OperationOutcome(operation.name, False, (), error_of(error))
    finally:
        turn.end()
    return OperationOutcome(operation.name, change.changed, change.notes)


def _do(host: Host, operation: Operation, turn: Turn) -> Change:
    if isinstance(operation, StartDomain):
        return start_domain(host, operation, turn)
    other = other_spelling(host.domains(), operation.name) if _ends(operation) else None
    with host.leases.held(operation.name, LOCK_SECONDS):
        if isinstance(operation, EndArrival):
            from rocks.machine.host.live_move import end_arrival  # rarely needed

            return end_arrival(host, operation)
        steps, notes = _admit_and_plan(host, operation, host.leases.admit)
        if isinstance(operation, EndDeparture):
            return _stay(host, operation, bool(steps)) if operation.resumes else UNCHANGED
        if isinstance(operation, StopDomain) and operation.ends_domain:  # without a domain its lease ends
            change = end_domain(host, operation)
            # the caller releases the lease of the machine, however its name is spelled
            return change if other is None else _do(host, replace(operation, name=other), turn)
        if isinstance(operation, ChangeDomain):  # links may differ where the domain does not
            return change_domain(host, operation)
        act = _OPERATIONS[type(operation)].act
        return act(host, operation) if steps and act else Change(False, notes)


def _admit_and_plan(host: Host, operation: Operation, admit: Callable[[str, int], object]) -> OperationPlan:
    """Pass the operation's lease to `admit`; its plan, for the domain as it is now. Of all operations but a start."""
    domain, token = host.domains().find(operation.name), getattr(operation, "token", None)
    # the end of a move is no act under its lease
    needs_lease = not isinstance(operation, EndArrival) and getattr(operation, "resumes", True)
    if domain is not None and token is not None and needs_lease:
        (host.leases.check_end if _ends(operation) else admit)(operation.name, token)
    if isinstance(operation, ChangeDomain):
        return plan_change(operation, change_facts(host, operation))
    return plan_operation(operation, _observed(host, operation, domain))


def plan_operation(operation: Operation, observed: Observed) -> OperationPlan:
    """The plan of an operation but a start or a change. StateError, with the remedy, when the host refuses it."""
    return _OPERATIONS[type(operation)].plan(operation, observed)


def _observed(host: Host, operation: Operation, domain: Optional[DomainFact]) -> Observed:
    if isinstance(operation, SaveDomain) and domain is not None:
        return Observed(domain, save=save_facts(host, host.domains().document(operation.name)))
    if isinstance(operation, GrowDisk):
        return Observed(domain, {operation.disk.path: read_disk(operation.disk.path)})
    if isinstance(operation, (MakeSnapshot, RestoreSnapshot)):
        return observe_snapshot(host, operation, domain)
    return Observed(domain)


def _ends(operation: Operation) -> bool:
    """Whether the domain and its lease end."""
    return isinstance(operation, StopDomain) and operation.ends_domain


def _pause(host: Host, operation: PauseDomain) -> Change:
    host.domains().suspend(operation.name)
    return CHANGED


def _resume(host: Host, operation: Union[ResumeDomain, EndDeparture]) -> Change:
    # libvirt may have started it by itself, after a boot; QEMU has its disks open, so they are the same images
    secure(host, renew_identities(host, host.domains().document(operation.name)))
    host.domains().resume(operation.name)
    return CHANGED


def _stay(host: Host, operation: EndDeparture, is_paused: bool) -> Change:
    name, domains = operation.name, host.domains()
    change = _resume(host, operation) if is_paused else UNCHANGED
    document = domains.document(name)
    if document.token is not None and document.token < operation.token:
        domains.set_lease(name, changed_lease(document, token=operation.token))  # it failed before that
    domains.set_autostart(name, operation.autostart)
    return change


class _Row(NamedTuple):
    """The plan of an operation, and what the host does when it has steps; the caller holds the machine's lock.

    Without `act`, `_do` has a way of its own: something is done without steps, too.
    """

    plan: Callable[[Any, Observed], OperationPlan]
    act: Optional[Callable[[Host, Any], Change]] = None


_OPERATIONS: Dict[type, _Row] = {
    EndArrival: _Row(plans.plan_end_arrival),
    EndDeparture: _Row(plans.plan_resume),
    FreezeGuest: _Row(plans.plan_freeze, freeze_guest),
    GrowDisk: _Row(plans.plan_growth, grow_disk),
    MakeSnapshot: _Row(plans.plan_snapshot, make_snapshot),
    PauseDomain: _Row(plans.plan_pause, _pause),
    RestoreSnapshot: _Row(plans.plan_restore, restore_snapshot),
    ResumeDomain: _Row(plans.plan_resume, _resume),
    SaveDomain: _Row(plans.plan_save, save_domain),
    StopDomain: _Row(plans.plan_stop, restart_guest),  # other stops end the lease, too, by `end_domain`
    ThawGuest: _Row(plans.plan_thaw, thaw_guest),
}
"""A new operation is its request, its plan, and a row here; `_observed` reads what the plan needs besides the domain.

Starts and changes have plans and ways of their own.
"""
