"""Move a running virtual machine to another physical host, while its guest runs (decision 171).

The lease stays with the old host, in the state `moving`, until the new one is known to run the machine; then one
transaction records the new place and the lease there. Whatever fails or is killed in between, at most one host runs the
guest, and repeating the command finds out which.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import monotonic_seconds
from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.units import duration, size_text
from rocks.fleet.settings import CannotAskError, FleetSettings, HostAddress
from rocks.fleet.wire.domain_states import GUEST_RUNS, is_active
from rocks.fleet.wire.live_moves import DIRECT_PORTS, Arrive, Leave
from rocks.inventory.address_records import host_addresses
from rocks.inventory.host_requests import open_fleet
from rocks.inventory.slurm_drains import known_batch_jobs
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked
from rocks.leases.machine_requests import contact_hosts
from rocks.leases.plan import MOVING, disk_keys, domain_on
from rocks.machine import placement_records as shape_leases
from rocks.machine import record as disk_copies
from rocks.machine import record as table
from rocks.machine.disks import check_no_doubt
from rocks.machine.documents import connections_of, describe_vms
from rocks.machine.domain import with_lease
from rocks.machine.moves.direct_certificate import direct_way
from rocks.machine.moves.live_ends import RefusedError, settle
from rocks.machine.moves.live_streams import move_live
from rocks.machine.moves.move_rules import check_live, check_other_host
from rocks.machine.moves.moves import (
    as_moved,
    check_files,
    hosts_beside,
    load_target,
    plan_of,
    remove_left,
)
from rocks.machine.moves.moving_volumes import cannot_move, check_images, image_devices, pull_images
from rocks.machine.plans import is_too_old, plan_start
from rocks.machine.record import DiskCopy
from rocks.machine.seeds import create_seeds
from rocks.machine.spec import container_of, spec_of
from rocks.network.guest_connections import VirtualFunction

if TYPE_CHECKING:
    from collections.abc import Collection

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.fleet.wire.live_moves import Progress
    from rocks.fleet.wire.requests import StartDomain
    from rocks.inventory.records import Host, Lease, VirtualMachine
    from rocks.machine.documents import FiltersOf
    from rocks.machine.moves.move_rules import MovePlan
    from rocks.machine.moves.moves import MoveReporter
    from rocks.machine.spec import MachineSpec

_AWAKE_SECONDS = 600.0


class _Way(NamedTuple):
    """The machine, its record on the new host, the plan of the move, and its spec there."""

    vm: VirtualMachine
    there: VirtualMachine
    target: Host
    plan: MovePlan
    spec: MachineSpec

    @property
    def source(self) -> str:
        return container_of(self.vm).name


def move_running_vm(
    database: Database, name: str, host: str, reporter: MoveReporter, filters_of: FiltersOf
) -> list[str]:
    """Move the machine, which runs, to the physical host; returns lines for the operator. Commits.

    UserError and RefusedError when it cannot move while it runs, BusyError while another command changes it, StateError
    while nothing may start: then nothing is changed. RefusedError too when a host refuses it later: it is where it was.
    After another error of a host it runs where it was, or at the new place, or the message says what to do.
    """
    ensure_epoch(database, reporter.notify)
    ensure_locked(database, [name], also_moving=True)
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    lease = leases.read_leases(database, [name]).get(name.lower())
    lines: list[str] = []
    if lease is not None and lease.state == MOVING:
        lines = settle(database, vm, lease, reporter=reporter)
        (vm,) = table.load_vms(database, [name])
        lease = leases.read_leases(database, [name]).get(name.lower())
    if vm.container is not None and vm.container.name.lower() == host.lower():
        if not lines and not disk_copies.read_copies(database, name):
            check_other_host(vm, vm.container)
        return lines or remove_left(database, vm)
    # in a dry run the hosts have still what the end of the interrupted move removes
    if lines and dry_run.would(host, f"receive {name}, while it runs"):
        return lines
    database.end_reading()
    if jobs := known_batch_jobs([host]).get(host):
        raise StateError(
            f"{name} is not moved: Slurm has {' and '.join(jobs)} on {host}; wait for the end (squeue)"
        )
    try:
        way = _check(database, vm, host, lease)
    except CannotAskError:
        raise  # of the machine this says nothing: a drain must not stop it
    except StateError as error:
        raise RefusedError(str(error), code=error.code) from error
    database.end_reading()
    if dry_run.would(way.target.name, f"receive {name} from {way.source}, while it runs"):
        return lines
    return [*lines, *_move(database, way, reporter, filters_of)]


def _check(database: Database, vm: VirtualMachine, host: str, lease: Lease | None) -> _Way:
    """Ask both hosts, and check all that can be checked before something is changed."""
    target = load_target(database, vm, host)
    plan = plan_of(database, vm, target)
    source = container_of(vm)
    check_live(vm, target, plan, lease)
    there = as_moved(database, vm, target, plan)
    check_images(database, vm, there)
    if shape_leases.has_any(database, vm.name):
        raise cannot_move(vm, "it has cores, memory of NUMA nodes or devices of its host for itself")
    connections = connections_of(there)
    if any(isinstance(one, VirtualFunction) for one in (*connections_of(vm), *connections)):
        raise cannot_move(vm, "it has a virtual function of its host")
    hosts = [source.name, target.name]
    paths = {file.new_path for file in plan.files} | {disk.path for disk in there.disks}
    asked = {source.name: {disk.path for disk in vm.disks}, target.name: paths | ({vm.cdrom_path} - {""})}
    with open_fleet(database, hosts) as fleet:
        facts = contact_hosts(database, fleet, hosts, files=asked)
    here = _answer(vm, facts[source.name])
    found = domain_on(here, vm.name)
    if found is None or found.state not in GUEST_RUNS:
        remedy = f"rocks stop host vm {vm.name} ends its lease, then it moves without live=yes"
        if found is not None and found.state == "paused":
            remedy = f"rocks resume host vm {vm.name}, then repeat the move"
        state = "off" if found is None else found.state
        raise StateError(f"{vm.name} does not run on {source.name}: it is {state}; {remedy}")
    answer = _with_images(_answer(vm, facts[target.name]), image_devices(vm))
    if is_too_old(answer.qemu, found.machine_type):
        raise cannot_move(
            vm,
            f"its machine type is {found.machine_type}, which the older QEMU {answer.qemu} of "
            f"{target.name} does not know",
        )
    copies = disk_copies.read_copies(database, vm.name)
    if is_active(answer, vm.name):
        raise StateError(
            f"{vm.name} is not moved: a domain of its name is active on {target.name}, too; look at both (rocks list "
            f"host vm {vm.name} status=yes), and end that one there: virsh destroy {vm.name}"
        )
    files = check_files(database, vm, target, plan, copies, answer, is_running=True)
    for file in files:
        if file.fact is None:
            raise HostError(
                f"{vm.name} is not moved: its disk {file.move.path} is not on {source.name}; rocks list host image "
                f"{source.name} shows what is"
            )
    spec = spec_of(there, connections, hosts_beside(database, vm), "is not moved")
    plan_start(spec.request, there.memory_mb, answer, {}, "is not moved")
    return _Way(vm, there, target, plan, spec)


def _with_images(answer: HostFacts, devices: Collection[str]) -> HostFacts:
    """What the new host has when the images are mapped to it."""
    disks = (
        replace(disk, exists=True, is_block=True) if disk.path in devices else disk for disk in answer.disks
    )
    return replace(answer, disks=tuple(disks))


def _answer(vm: VirtualMachine, answer: HostFacts | RocksError) -> HostFacts:
    if isinstance(answer, RocksError):
        raise HostError(f"{vm.name} is not moved: {answer}")
    return answer


def _move(database: Database, way: _Way, reporter: MoveReporter, filters_of: FiltersOf) -> list[str]:
    vm, target = way.vm, way.target
    operation = _operation(database, way, filters_of)
    for note in way.spec.notes:
        reporter.notify(note)
    pull_images(database, vm, way.there, reporter)
    copies = [DiskCopy(target.name, path) for path in _new_paths(way, operation)]
    disk_copies.put_copies(database, vm.name, copies)
    token = leases.begin_live_move(database, vm.name, target.name, disk_keys(way.there))
    database.commit()
    operation = replace(
        operation, token=token, xml=with_lease(operation.xml.splitlines(), token, way.spec.network, vm.uuid)
    )
    error = _migrate(database, way, operation, reporter)
    (now,) = leases.read_leases(database, [vm.name]).values()
    return settle(database, vm, now, error, reporter)


def _operation(database: Database, way: _Way, filters_of: FiltersOf) -> StartDomain:
    """The start of the machine on the new host, under no lease yet, with its document and its seed."""
    seed = create_seeds(database, [way.there]).get(way.vm.name)
    if isinstance(seed, RocksError):
        raise seed
    lines = describe_vms(database, [way.there], filters_of)[way.vm.name]
    return replace(way.spec.request, xml="\n".join(lines), seed=seed)


def _new_paths(way: _Way, operation: StartDomain) -> list[str]:
    seed = [] if operation.seed is None else [operation.seed.path]
    return [*(file.new_path for file in way.plan.files), *seed]


def _migrate(
    database: Database, way: _Way, operation: StartDomain, reporter: MoveReporter
) -> RocksError | None:
    """Have the agents move it; why it did not, as far as they know."""
    vm = way.vm
    old, new = host_addresses(database, [way.source]) + host_addresses(database, [way.target.name])
    move = vm.uuid.replace("-", "")
    began = awake = monotonic_seconds()
    database.end_reading()
    direct, detour = direct_way(new), ""
    if direct is None:
        reporter.notify(_detour_line(vm.name, way.source, new, "its address is not recorded"))

    def watch(progress: Progress) -> None:
        nonlocal awake, detour
        if progress.detour and not detour:
            detour = progress.detour
            reporter.notify(_detour_line(vm.name, way.source, new, detour))
        reporter.progress(_progress_line(vm.name, progress, monotonic_seconds() - began))
        if monotonic_seconds() >= awake + _AWAKE_SECONDS:
            awake = monotonic_seconds()
            leases.read_leases(database, [vm.name])
            database.end_reading()

    paths = tuple(file.path for file in way.plan.files)
    leave = Leave(vm.name, operation.token, move, paths, image_devices(vm), direct)
    arrive = Arrive(operation, vm.uuid, move, direct)
    try:
        result = move_live(old, new, FleetSettings(), leave, arrive, watch)
    except RocksError as error:
        return error
    finally:
        reporter.progress("")
    return None if result.error is None else HostError(f"{way.source}: {result.error}")


def _detour_line(vm: str, old: str, new: HostAddress, reason: str) -> str:
    """Why memory and disks go through the frontend, and what to do."""
    ports = f"{DIRECT_PORTS[0]}-{DIRECT_PORTS[-1]}"
    return (
        f"memory and disks of {vm} go through the frontend: {old} does not reach {new.name} directly ({reason}); "
        f"open TCP ports {ports} of {new.address} there to {old}"
    )


def _progress_line(name: str, progress: Progress, seconds: float) -> str:
    total = progress.sent_bytes + progress.remaining_bytes
    share = 100 * progress.sent_bytes // total if total else 0
    return f"{name}: {share} %, {size_text(progress.sent_bytes)} of {size_text(total)}, {duration(seconds)}"
