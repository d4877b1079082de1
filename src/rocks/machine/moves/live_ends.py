"""The end of a live migration, whether its command goes on, was killed, or another one finds it (decision 171).

Both hosts are asked where the machine is; then one transaction records it, or it goes on where it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import CLASSES, BusyError, HostError, RocksError, StateError
from rocks.fleet.wire.disk_moves import moving_path
from rocks.fleet.wire.domain_states import GUEST_RUNS
from rocks.fleet.wire.requests import EndArrival, EndDeparture, ResumeDomain, StopDomain
from rocks.inventory.host_requests import error_of, is_silent, open_fleet
from rocks.inventory.inventory_lock import unlock_inventory
from rocks.inventory.loaded_host_records import load_hosts
from rocks.leases import lease as leases
from rocks.leases.machine_requests import contact_hosts, perform_operations
from rocks.leases.plan import MOVING, disk_keys, domain_on, has_arrived
from rocks.machine import record as disk_copies
from rocks.machine import record as table
from rocks.machine.documents import connections_of
from rocks.machine.images import remove_files
from rocks.machine.moves.move_rules import plan_in_place
from rocks.machine.moves.moves import record_move, remove_left
from rocks.machine.moves.moving_volumes import (
    arrived_without,
    check_current,
    image_devices,
    map_images_there,
    no_resume,
    release_images,
)
from rocks.machine.spec import container_of, links_of

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.fleet.fleet import Fleet
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.requests import Operation, OperationOutcome
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine.moves.moves import MoveReporter


class RefusedError(StateError):
    """This machine cannot move to that host while it runs; it is where it was, and may be stopped for its move."""


def settle(
    database: Database,
    vm: VirtualMachine,
    lease: Lease,
    cause: RocksError | None = None,
    reporter: MoveReporter | None = None,
    image_seconds: float | None = None,
) -> list[str]:
    """End a live migration by what both hosts report; lines for the operator. Commits.

    The machine is on the new host: its images on NASes follow it, and that is recorded. Otherwise what is there is
    removed, and the machine goes on where it was; then the cause is raised, if one is given. HostError when a host is
    silent that is needed to know. BusyError when a NAS needs longer than `image_seconds`, or than a
    start waits, for what was changed last.
    """
    if lease.state != MOVING or lease.host is None or lease.target is None:
        raise StateError(
            f"{vm.name} is not moving any more: another command has changed its lease meanwhile, which is "
            f"{lease.state} now{f' on {lease.host}' if lease.host else ''}; see where it runs: rocks list host vm lease"
        )
    hosts = [lease.host, lease.target]
    starts_with_host = vm.host.attribute("kvm_autostart") == "true"
    failed = f"{vm.name} was not moved: {cause}; " if cause is not None else ""
    with open_fleet(database, hosts) as fleet:
        arrival = EndArrival(vm.name, lease.token, starts_with_host, image_devices(vm))
        ended = _perform(database, fleet, lease.target, arrival)
        left = _perform(database, fleet, lease.host, EndDeparture(vm.name, lease.token))
        facts = contact_hosts(database, fleet, hosts, asks_leases=True)
        # what a host reports while its agent still works on the migration may be another thing next
        here = error_of(left) or facts[lease.host]
        there = error_of(ended) or facts[lease.target]
        arrived = has_arrived(lease, here, there)
        if arrived is None:
            raise _unknown(lease, there, failed, is_off=is_silent(facts[lease.target]))
        if arrived:
            if image_devices(vm) and not dry_run.is_on():
                there = _bring_images(database, fleet, vm, lease, there, reporter, image_seconds)
            _record_arrival(database, vm, lease)
            _end_departure(database, fleet, vm, lease)
            contact_hosts(database, fleet, [lease.host])  # carries the fence
        else:
            where, notes = _stay(database, fleet, vm, lease, here, there, starts_with_host)
    if arrived:
        dry_run.would(lease.target, f"keep {vm.name}: its move that was interrupted has come to its end")
        return _arrival(database, vm, lease.target, there)
    dry_run.would(lease.host, f"keep {vm.name}: its move that was interrupted is undone")
    if cause is not None:
        raised = RefusedError if isinstance(cause, StateError) else CLASSES[cause.family]
        raise raised("; ".join([f"{failed}{where}", *notes]), code=cause.code)
    return [f"the move of {vm.name} that was interrupted is undone: {where}", *notes]


def _unknown(lease: Lease, there: HostFacts | RocksError, failed: str, *, is_off: bool) -> RocksError:
    """Nobody can say where the machine is; what to do, by why its new host does not say it (`is_off`: it may be)."""
    again = f"rocks move host vm {lease.name} {lease.target} live=yes"
    unknown = f"{failed}whether {lease.name} runs on {lease.target} is not known"
    if isinstance(there, BusyError):
        return BusyError(
            f"{unknown}: an agent there is still working on it ({there}). When it has ended: {again}"
        )
    if is_off:
        return HostError(
            f"{unknown}, because it does not answer ({there}). Bring it back, then: {again}; or, when it is certainly "
            f'off: rocks stop host vm {lease.name} force=yes reason="…"'
        )
    return HostError(f"{unknown}: it answers, but cannot say so ({there}). Repair it, then: {again}")


def _perform(
    database: Database, fleet: Fleet, host: str, operation: Operation
) -> OperationOutcome | RocksError:
    ((_, outcome),) = perform_operations(database, fleet, {host: [operation]})
    return outcome


def _record_arrival(database: Database, vm: VirtualMachine, lease: Lease) -> None:
    """The record, the lease and the copies, in one transaction; what the old host still has is fenced there.

    The machine was moved: no check of today's attributes may prevent that this is recorded.
    """
    assert lease.host is not None and lease.target is not None
    (target,) = load_hosts(database, [lease.target])
    plan = plan_in_place(vm)
    record_move(database, vm, target, plan)
    there = replace(vm, container=target, disks=plan.disks)
    leases.end_live_move(database, vm.name, target.name, disk_keys(there))
    leases.put_up_fences(database, [(lease.host, vm.name, lease.token + 1)])
    database.commit()
    unlock_inventory(database)


def _bring_images(
    database: Database,
    fleet: Fleet,
    vm: VirtualMachine,
    lease: Lease,
    there: HostFacts | RocksError,
    reporter: MoveReporter | None,
    image_seconds: float | None,
) -> HostFacts | RocksError:
    """Have the images follow the machine, which has arrived, and resume it; what its new host reports then.

    Until then the lease is that of the move: every other command on the machine is refused.
    """
    assert lease.target is not None
    if isinstance(there, RocksError):
        raise _unknown(lease, there, "", is_off=is_silent(there))
    found = domain_on(there, vm.name)
    is_active = found is not None and found.state in (*GUEST_RUNS, "paused")
    (target,) = load_hosts(database, [lease.target])

    def end_departure() -> None:
        error = _end_departure(database, fleet, vm, lease)
        if error is not None:
            raise error

    try:
        if is_active:
            check_current(database, vm)
        release_images(database, vm, lease, reporter, end_departure, image_seconds)
        if is_active:
            map_images_there(database, replace(vm, container=target), lease, reporter)
    except RocksError as error:
        raise arrived_without(vm, lease.target, error, is_paused=is_active) from error
    if found is not None and found.state == "paused":
        not_resumed = error_of(_perform(database, fleet, lease.target, ResumeDomain(vm.name, lease.token)))
        if not_resumed is not None:
            raise no_resume(vm, lease.target, not_resumed)
    return contact_hosts(database, fleet, [lease.target])[lease.target]


def _end_departure(database: Database, fleet: Fleet, vm: VirtualMachine, lease: Lease) -> RocksError | None:
    """End the lease on the old host, and its devices; a host that does not answer has its fence."""
    assert lease.host is not None
    links = links_of(container_of(vm), connections_of(vm)) if vm.container is not None else ()
    return error_of(_perform(database, fleet, lease.host, StopDomain(vm.name, lease.token, links=links)))


def _arrival(database: Database, vm: VirtualMachine, target: str, there: HostFacts | RocksError) -> list[str]:
    """What is on the new host now, which may have ended or paused the machine since it arrived."""
    found = domain_on(there, vm.name)
    if found is not None and found.state in (*GUEST_RUNS, "paused"):
        (moved,) = table.load_vms(database, [vm.name])
        paused = f"{vm.name} is on {target} now, where it is paused: rocks resume host vm {vm.name}"
        line = f"{vm.name} runs on {target} now" if found.state in GUEST_RUNS else paused
        return [line, *remove_left(database, moved)]
    if isinstance(there, RocksError):
        line = f"{vm.name} was moved to {target}, which does not answer now ({there})"
    else:
        line = f"{vm.name} was moved to {target}, and is off there by now: rocks start host vm {vm.name}"
    if not disk_copies.read_copies(database, vm.name):
        return [line]
    return [
        line,
        f"its old copy stays meanwhile; when {vm.name} runs, this removes it: rocks move host vm {vm.name} {target}",
    ]


def _stay(
    database: Database,
    fleet: Fleet,
    vm: VirtualMachine,
    lease: Lease,
    here: HostFacts | RocksError,
    there: HostFacts | RocksError,
    starts_with_host: bool,
) -> tuple[str, list[str]]:
    """Record that the machine is where it was, and have it go on there; where it is now, and lines for the operator.

    A new host that is silent, or has a domain under the lease all the same, gets a fence, which destroys it. The files
    there are removed only while the machine is active on its old host.
    """
    assert lease.host is not None and lease.target is not None
    found = domain_on(there, vm.name)
    is_clean = not isinstance(there, RocksError) and (found is None or found.token != lease.token)
    if not is_clean:
        leases.put_up_fences(database, [(lease.target, vm.name, lease.token + 1)])
    leases.end_live_move(database, vm.name, lease.host, disk_keys(vm))
    database.commit()
    if not is_clean:
        there = contact_hosts(database, fleet, [lease.target])[lease.target]
        is_clean = not isinstance(there, RocksError) and domain_on(there, vm.name) is None
    has_copy = any(copy.host == lease.target for copy in disk_copies.read_copies(database, vm.name))
    domain = domain_on(here, vm.name)
    if domain is None or domain.state not in (*GUEST_RUNS, "paused"):
        return _why_off(vm.name, lease.host, here), has_copy * [
            f"its incomplete copy on {lease.target} stays meanwhile; when {vm.name} runs, this removes it: rocks move "
            f"host vm {vm.name} {lease.host}"
        ]
    stays = EndDeparture(vm.name, lease.token, resumes=True, autostart=starts_with_host)
    error = error_of(_perform(database, fleet, lease.host, stays))
    if error is not None:
        raise HostError(
            f"{vm.name} may be paused on {lease.host}, where it was to go on: {error}; rocks resume host vm {vm.name}"
        )
    if is_clean:
        return f"it runs on {lease.host}", _remove_arrival(database, vm, lease)
    reason = there if isinstance(there, RocksError) else "it has a domain of this name"
    return f"it runs on {lease.host}", has_copy * [_incomplete_copy(vm, lease, reason)]


def _why_off(vm: str, host: str, here: HostFacts | RocksError) -> str:
    if isinstance(here, RocksError):
        return f"its lease is that of {host} again, which does not answer ({here})"
    return f"it is off on {host}, since its host has ended it meanwhile: rocks start host vm {vm}"


def _remove_arrival(database: Database, vm: VirtualMachine, lease: Lease) -> list[str]:
    """Remove the incomplete files of the new host; what it does not remove now stays recorded as a copy."""
    assert lease.target is not None
    copies = [copy for copy in disk_copies.read_copies(database, vm.name) if copy.host == lease.target]
    if not copies:
        return []
    paths = [path for copy in copies for path in (copy.path, moving_path(copy.path))]
    errors = remove_files(database, vm, lease.target, paths)
    if not errors:
        disk_copies.delete_copies(database, vm.name, copies)
        database.commit()
    return [_incomplete_copy(vm, lease, error) for error in errors]


def _incomplete_copy(vm: VirtualMachine, lease: Lease, reason: RocksError | str) -> str:
    return (
        f"the incomplete copy of {vm.name} on {lease.target} stays: {reason}; to remove it: "
        f"rocks move host vm {vm.name} {lease.host}"
    )
