"""Move a running virtual machine to another physical host, while its guest runs (decision 171).

The lease stays with the old host, in the state `moving`, until the new one is known to run the machine; then one
transaction records the new place and the lease there. Whatever fails or is killed in between, at most one host runs the
guest, and repeating the command finds out which.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks import dry_run
from rocks.actions.guest_images import make_seeds
from rocks.actions.host_images import remove_files
from rocks.actions.host_requests import (
    ask_facts,
    error_of,
    fleet_addresses,
    is_silent,
    open_fleet,
    perform_operations,
)
from rocks.actions.lease_epoch import ensure_epoch
from rocks.actions.vm_documents import connections_of, describe_vms
from rocks.actions.vm_locks import lock_vms
from rocks.actions.vm_moves import (
    check_files,
    load_target,
    plan_of,
    record_move,
    record_on_host,
    remove_left,
)
from rocks.actions.vms import load_containers
from rocks.clock import monotonic_seconds
from rocks.cluster.lease_plan import MOVING, disk_keys
from rocks.cluster.live_moves import GUEST_RUNS, check_no_doubt, domain_on, has_arrived
from rocks.cluster.start_plan import AlreadyStarted, container_of, links_of, memory_reserve_mb, plan_start
from rocks.cluster.vm_moves import check_live, check_other_host, plan_in_place
from rocks.cluster.vm_network import VirtualFunction
from rocks.database import disk_copies, leases, shape_leases
from rocks.database import vms as table
from rocks.database.disk_copies import DiskCopy
from rocks.errors import CLASSES, BusyError, HostError, RocksError, StateError
from rocks.hosts.live_moves import move_live
from rocks.hosts.settings import CannotAskError, FleetSettings
from rocks.render.domain import with_lease
from rocks.units import duration, size_text
from rocks.wire.agent import EndArrival, EndDeparture, StartDomain, StopDomain
from rocks.wire.live_moves import Arrive, Leave

if TYPE_CHECKING:
    from rocks.actions.vm_documents import FiltersOf
    from rocks.actions.vm_moves import Ways
    from rocks.cluster.records import Host, Lease, VirtualMachine
    from rocks.cluster.start_plan import StartPlan
    from rocks.cluster.vm_moves import MovePlan
    from rocks.database.connection import Database
    from rocks.hosts.fleet import Fleet
    from rocks.wire.agent import Operation, OperationOutcome
    from rocks.wire.facts import HostFacts
    from rocks.wire.live_moves import Progress

_AWAKE_SECONDS = 600.0


class RefusedError(StateError):
    """This machine cannot move to that host while it runs; it is where it was, and may be stopped for its move."""


class _Way(NamedTuple):
    """The machine, its record on the new host, its plan, and the start there that is not one."""

    vm: VirtualMachine
    there: VirtualMachine
    target: Host
    plan: MovePlan
    start: StartPlan

    @property
    def source(self) -> str:
        return container_of(self.vm).name


def move_running_vm(database: Database, name: str, host: str, ways: Ways, filters_of: FiltersOf) -> list[str]:
    """Move the machine, which runs, to the physical host; returns lines for the operator. Commits.

    UserError and RefusedError when it cannot move while it runs, BusyError while another command changes it, StateError
    while nothing may start: then nothing is changed. RefusedError too when a host refuses it later: it is where it was.
    After another error of a host it runs where it was, or at the new place, or the message says what to do.
    """
    ensure_epoch(database, ways.notify)
    for error in lock_vms(database, [name], also_moving=True).values():
        raise error
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    lease = leases.read_leases(database, [name]).get(name.lower())
    lines: list[str] = []
    if lease is not None and lease.state == MOVING:
        lines = settle(database, vm, lease)
        (vm,) = table.load_vms(database, [name])
        lease = leases.read_leases(database, [name]).get(name.lower())
    if vm.container is not None and vm.container.name.lower() == host.lower():
        if not lines and not disk_copies.read_copies(database, name):
            check_other_host(vm, vm.container)
        return lines or remove_left(database, vm)
    # in a dry run the hosts have still what the end of the interrupted move removes
    if lines and dry_run.would(host, f"receive {name}, while it runs"):
        return lines
    try:
        way = _check(database, vm, host, lease)
    except CannotAskError:
        raise  # of the machine this says nothing: a drain must not stop it
    except StateError as error:
        raise RefusedError(str(error), code=error.code) from error
    assert lease is not None
    database.end_reading()
    if dry_run.would(way.target.name, f"receive {name} from {way.source}, while it runs"):
        return lines
    return [*lines, *_move(database, way, lease, ways, filters_of)]


def _check(database: Database, vm: VirtualMachine, host: str, lease: Lease | None) -> _Way:
    """Ask both hosts, and check all that can be checked before something is changed."""
    target = load_target(database, vm, host)
    plan = plan_of(database, vm, target)
    source = container_of(vm)
    check_live(vm, target, plan, lease)
    there = _as_moved(database, vm, target, plan)
    if shape_leases.has_any(database, vm.name):
        raise _cannot(vm, "it has cores, memory of NUMA nodes or devices of its host for itself")
    connections = connections_of(there)
    if any(isinstance(one, VirtualFunction) for one in (*connections_of(vm), *connections)):
        raise _cannot(vm, "it has a virtual function of its host")
    hosts = [source.name, target.name]
    paths = [file.new_path for file in plan.files] + ([vm.cdrom_path] if vm.cdrom_path else [])
    with open_fleet(database, hosts) as fleet:
        facts = ask_facts(database, fleet, hosts, [vm, there], files={target.name: paths})
    here = _answer(vm, facts[source.name])
    found = domain_on(here, vm.name)
    if found is None or found.state not in GUEST_RUNS:
        raise StateError(
            f"{vm.name} does not run on {source.name}: it is {'off' if found is None else found.state}; without "
            f"live=yes a machine that is off moves: rocks move host vm {vm.name} {target.name}"
        )
    answer = _answer(vm, facts[target.name])
    copies = disk_copies.read_copies(database, vm.name)
    files = check_files(database, vm, target, plan, copies, answer, is_running=True)
    for file in files:
        if file.fact is None:
            raise HostError(f"{vm.name} is not moved: its disk {file.move.path} is not on {source.name}")
    neighbours = table.hosts_of_vlans(
        database, (interface.vlan for interface in vm.host.interfaces if interface.vlan), without=vm.name
    )
    try:
        start = plan_start(there, connections, answer, 0, 0, neighbours)
    except RocksError as error:
        raise CLASSES[error.family](
            str(error).replace(f"{vm.name} is not started", f"{vm.name} is not moved"), code=error.code
        ) from None
    assert not isinstance(start, AlreadyStarted)
    return _Way(vm, there, target, plan, start)


def _as_moved(database: Database, vm: VirtualMachine, target: Host, plan: MovePlan) -> VirtualMachine:
    """The machine as it will be recorded, with the VLANs that its new host carries for it; nothing is recorded yet."""
    record_on_host(database, vm, target)
    (there,) = table.load_vms(database, [vm.name])
    database.rollback()
    return replace(there, disks=plan.disks)


def _cannot(vm: VirtualMachine, why: str) -> StateError:
    return StateError(f"{vm.name} does not move while it runs: {why}; stop it, and move it without live=yes")


def _answer(vm: VirtualMachine, answer: HostFacts | RocksError) -> HostFacts:
    if isinstance(answer, RocksError):
        raise HostError(f"{vm.name} is not moved: {answer}")
    return answer


def _move(database: Database, way: _Way, lease: Lease, ways: Ways, filters_of: FiltersOf) -> list[str]:
    vm, target = way.vm, way.target
    operation = _operation(database, way, filters_of)
    copies = [DiskCopy(target.name, path) for path in _new_paths(way, operation)]
    disk_copies.put_copies(database, vm.name, copies)
    token = leases.begin_live_move(database, vm.name, target.name, disk_keys(way.there))
    database.commit()
    operation = replace(
        operation, token=token, xml=with_lease(operation.xml.splitlines(), token, way.start.network, vm.uuid)
    )
    error = _migrate(database, way, operation, ways)
    (now,) = leases.read_leases(database, [vm.name]).values()
    return settle(database, vm, now, way, error)


def _operation(database: Database, way: _Way, filters_of: FiltersOf) -> StartDomain:
    """The start of the machine on the new host, under no lease yet."""
    seed = make_seeds(database, [way.there]).get(way.vm.name)
    if isinstance(seed, RocksError):
        raise seed
    lines = describe_vms(database, [way.there], filters_of)[way.vm.name]
    return StartDomain(
        name=way.vm.name,
        token=0,
        xml="\n".join(lines),
        disks=way.start.disks,
        links=way.start.links,
        autostart=way.start.autostart,
        memory_reserve_mb=memory_reserve_mb(way.target),
        seed=seed,
    )


def _new_paths(way: _Way, operation: StartDomain) -> list[str]:
    seed = [] if operation.seed is None else [operation.seed.path]
    return [*(file.new_path for file in way.plan.files), *seed]


def _migrate(database: Database, way: _Way, operation: StartDomain, ways: Ways) -> RocksError | None:
    """Have the agents move it; why it did not, as far as they know."""
    vm = way.vm
    old, new = fleet_addresses(database, [way.source]) + fleet_addresses(database, [way.target.name])
    move = vm.uuid.replace("-", "")
    began = awake = monotonic_seconds()
    database.end_reading()

    def watch(progress: Progress) -> None:
        nonlocal awake
        ways.progress(_progress_line(vm.name, progress, monotonic_seconds() - began))
        if monotonic_seconds() >= awake + _AWAKE_SECONDS:
            awake = monotonic_seconds()
            leases.read_leases(database, [vm.name])
            database.end_reading()

    leave = Leave(vm.name, operation.token, move, tuple(file.path for file in way.plan.files))
    try:
        result = move_live(old, new, FleetSettings(), leave, Arrive(operation, vm.uuid, move), watch)
    except RocksError as error:
        return error
    finally:
        ways.progress("")
    return None if result.error is None else HostError(f"{way.source}: {result.error}")


def _progress_line(name: str, progress: Progress, seconds: float) -> str:
    total = progress.sent_bytes + progress.remaining_bytes
    share = 100 * progress.sent_bytes // total if total else 0
    return f"{name}: {share} %, {size_text(progress.sent_bytes)} of {size_text(total)}, {duration(seconds)}"


def settle(
    database: Database,
    vm: VirtualMachine,
    lease: Lease,
    way: _Way | None = None,
    cause: RocksError | None = None,
) -> list[str]:
    """End a live migration by what both hosts report; lines for the operator. Commits.

    The machine runs on the new host: that is recorded. Otherwise what is there is removed, and the machine goes on
    where it was; then the cause is raised, if one is given. HostError when a host is silent that is needed to know.
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
        ended = _perform(fleet, lease.target, EndArrival(vm.name, lease.token, starts_with_host))
        left = _perform(fleet, lease.host, EndDeparture(vm.name, lease.token))
        facts = ask_facts(database, fleet, hosts, asks_leases=True)
        # what a host reports while its agent still works on the migration may be another thing next
        here = error_of(left) or facts[lease.host]
        there = error_of(ended) or facts[lease.target]
        arrived = has_arrived(lease, here, there)
        if arrived is None:
            raise _unknown(lease, there, failed, is_off=is_silent(facts[lease.target]))
        if arrived:
            _record_arrival(database, vm, lease, way)
            _end_departure(fleet, vm, lease)
            ask_facts(database, fleet, [lease.host])  # carries the fence
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


def _perform(fleet: Fleet, host: str, operation: Operation) -> OperationOutcome | RocksError:
    ((_, outcome),) = perform_operations(fleet, {host: [operation]})
    return outcome


def _record_arrival(database: Database, vm: VirtualMachine, lease: Lease, way: _Way | None) -> None:
    """The record, the lease and the copies, in one transaction; what the old host still has is fenced there.

    The machine was moved: no check of today's attributes may prevent that this is recorded.
    """
    assert lease.host is not None and lease.target is not None
    target = way.target if way is not None else load_containers(database, [lease.target])[0]
    plan = way.plan if way is not None else plan_in_place(vm)
    record_move(database, vm, target, plan)
    there = replace(vm, container=target, disks=plan.disks)
    leases.end_live_move(database, vm.name, target.name, disk_keys(there))
    leases.put_up_fences(database, [(lease.host, vm.name, lease.token + 1)])
    database.commit()


def _end_departure(fleet: Fleet, vm: VirtualMachine, lease: Lease) -> None:
    """End the lease on the old host, and its devices; a host that does not answer has its fence."""
    assert lease.host is not None
    links = links_of(container_of(vm), connections_of(vm)) if vm.container is not None else ()
    _perform(fleet, lease.host, StopDomain(vm.name, lease.token, links=links))


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
        there = ask_facts(database, fleet, [lease.target])[lease.target]
        is_clean = not isinstance(there, RocksError) and domain_on(there, vm.name) is None
    domain = domain_on(here, vm.name)
    if domain is None or domain.state not in (*GUEST_RUNS, "paused"):
        if isinstance(here, RocksError):
            where = f"its lease is that of {lease.host} again, which does not answer ({here})"
        else:
            where = f"it is off on {lease.host}, since its host has ended it meanwhile: rocks start host vm {vm.name}"
        return where, [
            f"its incomplete copy on {lease.target} stays meanwhile; when {vm.name} runs, this removes it: rocks move "
            f"host vm {vm.name} {lease.host}"
        ]
    stays = EndDeparture(vm.name, lease.token, resumes=True, autostart=starts_with_host)
    error = error_of(_perform(fleet, lease.host, stays))
    if error is not None:
        raise HostError(
            f"{vm.name} may be paused on {lease.host}, where it was to go on: {error}; rocks resume host vm {vm.name}"
        )
    if is_clean:
        return f"it runs on {lease.host}", _remove_arrival(database, vm, lease)
    reason = there if isinstance(there, RocksError) else "it has a domain of this name"
    return f"it runs on {lease.host}", [_incomplete_copy(vm, lease, reason)]


def _remove_arrival(database: Database, vm: VirtualMachine, lease: Lease) -> list[str]:
    """Remove the incomplete files of the new host; what it does not remove now stays recorded as a copy."""
    assert lease.target is not None
    copies = [copy for copy in disk_copies.read_copies(database, vm.name) if copy.host == lease.target]
    if not copies:
        return []
    errors = remove_files(database, vm, lease.target, [copy.path for copy in copies])
    if not errors:
        disk_copies.delete_copies(database, vm.name, copies)
        database.commit()
    return [_incomplete_copy(vm, lease, error) for error in errors]


def _incomplete_copy(vm: VirtualMachine, lease: Lease, reason: RocksError | str) -> str:
    return (
        f"the incomplete copy of {vm.name} on {lease.target} stays: {reason}; to remove it: "
        f"rocks move host vm {vm.name} {lease.host}"
    )
