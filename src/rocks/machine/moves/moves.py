"""Move a stopped virtual machine to another physical host: its disk files are copied, then the new place is recorded.

Until the record is changed the machine is startable on its old host, afterwards on the new one. What the other host has
is recorded as a copy before it is made, and no machine is recorded with a copy (decision 120). A command that was
killed is completed by repeating it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import monotonic_seconds
from rocks.core.errors import RocksError, StateError
from rocks.core.units import size_text
from rocks.fleet.settings import FleetSettings
from rocks.fleet.wire.disk_files import ImagesRequest
from rocks.fleet.wire.disk_moves import moving_path
from rocks.inventory.address_records import host_addresses
from rocks.inventory.disks.places import medium_of
from rocks.inventory.host_requests import ask_each, open_fleet
from rocks.inventory.inventory_lock import lock_inventory, unlock_inventory
from rocks.inventory.loaded_host_records import mounts_of
from rocks.inventory.node_records import node_ids
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked
from rocks.leases.machine_requests import contact_hosts
from rocks.library.progress import Meter
from rocks.machine import add
from rocks.machine import record as disk_copies
from rocks.machine import record as table
from rocks.machine import record as vm_changes
from rocks.machine.add import load_containers
from rocks.machine.change import host_vlans
from rocks.machine.disks import check_no_doubt
from rocks.machine.documents import connections_of
from rocks.machine.images import remove_files
from rocks.machine.moves.disk_streams import MovingDisk, move_disk
from rocks.machine.moves.move_rules import (
    check_is_off,
    check_no_snapshots,
    check_other_host,
    check_source,
    check_space,
    check_target,
    left_paths,
    plan_move,
)
from rocks.machine.record import DiskCopy
from rocks.machine.spec import container_of, spec_of
from rocks.network.cluster_vlans import record_host_vlans
from rocks.storage.volumes import place_records as image_places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rocks.database.connection import Database
    from rocks.fleet.wire.disk_files import ImageFact
    from rocks.fleet.wire.facts import DiskFact, HostFacts
    from rocks.inventory.records import Host, VirtualMachine
    from rocks.library.progress import Progress
    from rocks.machine.moves.move_rules import FileMove, MovePlan

_AWAKE_SECONDS = 600.0
"""The server ends a connection that is idle for hours."""


class MoveReporter(NamedTuple):
    """How a move reports: `notify` prints a line, `progress` shows one that the next replaces."""

    notify: Callable[[str], None]
    progress: Progress


class File(NamedTuple):
    """A file to copy, with the facts of the old host; None when there is none yet."""

    move: FileMove
    fact: ImageFact | None


def move_vm(database: Database, name: str, host: str, reporter: MoveReporter) -> list[str]:
    """Move the machine to the physical host; returns lines for the operator. Commits.

    UserError and StateError when it cannot be moved, BusyError while another command changes it: then nothing is
    changed. After an error of a host the machine is where it was, and the same command continues.
    """
    ensure_epoch(database, reporter.notify)
    ensure_locked(database, [name])
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    copies = disk_copies.read_copies(database, name)
    if vm.container is not None and vm.container.name.lower() == host.lower():
        if not copies:
            check_other_host(vm, vm.container)
        return remove_left(database, vm)
    target = load_target(database, vm, host)
    plan = plan_of(database, vm, target)
    files = _check(database, vm, target, plan, copies)
    _warn_of_start(database, vm, target, plan, reporter.notify)
    there = [DiskCopy(target.name, file.new_path) for file in plan.files]
    disk_copies.put_copies(database, vm.name, there)
    database.commit()
    lines = [line for file in files for line in _copy(database, vm, target, file, copies, reporter)]
    record_move(database, vm, target, plan)
    database.commit()
    unlock_inventory(database)
    (moved,) = table.load_vms(database, [name])
    return [*lines, f"{vm.name} is on {target.name} now", *remove_left(database, moved)]


def check_movable(database: Database, name: str, host: str) -> None:
    """StateError when the machine could not be moved to the host even if it were off; HostError when one is silent.

    What only a machine that is off shows, such as its files, is checked by `move_vm`.
    """
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    target = load_target(database, vm, host)
    plan = plan_of(database, vm, target)
    here, _ = _images(database, plan, [container_of(vm).name, target.name])
    check_no_snapshots(vm, here)


def _warn_of_start(
    database: Database, vm: VirtualMachine, target: Host, plan: MovePlan, notify: Callable[[str], None]
) -> None:
    """Say why its records would not let the machine start there: it may be the first of several that move."""
    there = as_moved(database, vm, target, plan)
    try:
        spec_of(there, connections_of(there), hosts_beside(database, vm), "would not start")
    except StateError as error:
        if not dry_run.would(target.name, f"refuse the start then: {error}"):
            notify(f"Warning: on {target.name}, {error}")


def as_moved(database: Database, vm: VirtualMachine, target: Host, plan: MovePlan) -> VirtualMachine:
    """The machine as it will be recorded, with the VLANs that its new host carries for it; nothing is recorded yet."""
    record_on_host(database, vm, target)
    (there,) = table.load_vms(database, [vm.name])
    database.rollback()
    unlock_inventory(database)
    return replace(there, disks=plan.disks)


def hosts_beside(database: Database, vm: VirtualMachine) -> dict[int, list[str]]:
    """VLAN id of the machine → the hosts of the other machines on it."""
    vlans = (interface.vlan for interface in vm.host.interfaces if interface.vlan)
    return table.hosts_of_vlans(database, vlans, without=vm.name)


def load_target(database: Database, vm: VirtualMachine, name: str) -> Host:
    """The host that gets the machine, with its file systems. UserError and StateError when it cannot get it."""
    (target,) = load_containers(database, [name])
    check_other_host(vm, target)
    return replace(target, mounts=mounts_of(database, [target.name]).get(target.name, ()))


def plan_of(database: Database, vm: VirtualMachine, target: Host) -> MovePlan:
    """As `plan_move`, from the records."""
    container_of(vm)
    medium_of(vm, target)
    locations = image_places.disk_locations(database, [vm.name])
    partitions = add.read_inventory(database, [target.name]).partitions
    on_nas = {location.number for location in locations if location.nas}
    return plan_move(vm, target, on_nas, partitions.get(target.name.lower(), ()))


def _check(
    database: Database, vm: VirtualMachine, target: Host, plan: MovePlan, copies: list[DiskCopy]
) -> list[File]:
    """Ask both hosts, and check all that can be checked before something is changed."""
    source = container_of(vm)
    lease = leases.read_leases(database, [vm.name]).get(vm.name.lower())
    paths = [file.new_path for file in plan.files] + ([vm.cdrom_path] if vm.cdrom_path else [])
    hosts = [source.name, target.name]
    with open_fleet(database, hosts) as fleet:
        facts = contact_hosts(database, fleet, hosts, files={target.name: paths})
    check_is_off(vm, lease, facts)
    answer = facts[target.name]
    assert not isinstance(answer, RocksError)
    return check_files(database, vm, target, plan, copies, answer)


def check_files(
    database: Database,
    vm: VirtualMachine,
    target: Host,
    plan: MovePlan,
    copies: list[DiskCopy],
    answer: HostFacts,
    *,
    is_running: bool = False,
) -> list[File]:
    """The files of the machine, checked on both hosts; `answer` has the new places. StateError, HostError."""
    hosts = [container_of(vm).name, target.name]
    places = {disk.path: disk for disk in answer.disks}
    if vm.cdrom_path and not places[vm.cdrom_path].exists:
        raise StateError(
            f"{vm.name} is not moved: its CD {vm.cdrom_path} is not on {target.name}; copy it there, or eject it: "
            f"rocks set host vm cdrom {vm.name} cdrom=none"
        )
    here, there = _images(database, plan, hosts)
    check_no_snapshots(vm, here)
    files = []
    for move in plan.files:
        fact = check_source(vm, move, here, is_running=is_running)
        is_copy = fact is not None and DiskCopy(target.name, move.new_path) in copies
        check_target(vm, target, move, there, is_copy)
        files.append(File(move, fact))
    _check_space(vm, target, files, there, places)
    return files


def _images(database: Database, plan: MovePlan, hosts: list[str]) -> list[Mapping[str, ImageFact]]:
    """The image files of the old and the new host, by path."""
    if not plan.files:
        return [{}, {}]
    folders = (
        {file.path.rpartition("/")[0] for file in plan.files},
        {file.new_path.rpartition("/")[0] for file in plan.files},
    )
    requests = {
        host: ImagesRequest(tuple(sorted(of_host))) for host, of_host in zip(hosts, folders, strict=True)
    }
    found: dict[str, Mapping[str, ImageFact]] = {}
    for host, answer in ask_each(database, requests):
        if isinstance(answer, RocksError):
            raise answer
        found[host] = {fact.path: fact for fact in answer.images}
    return [found[host] for host in hosts]


def _check_space(
    vm: VirtualMachine,
    target: Host,
    files: list[File],
    there: Mapping[str, ImageFact],
    places: Mapping[str, DiskFact],
) -> None:
    """Files of one file system are counted together; those that have the same free space count as one."""
    needed: dict[int, tuple[str, int]] = {}
    for move, fact in files:
        if fact is None:
            continue
        has = [
            there[path].used_bytes for path in (move.new_path, moving_path(move.new_path)) if path in there
        ]
        free = places[move.new_path].free_bytes
        path, before = needed.get(free, (move.new_path, 0))
        needed[free] = (path, before + max(0, fact.used_bytes - sum(has)))
    for free, (path, bytes_) in needed.items():
        check_space(vm, target, path, bytes_, free)


def _copy(
    database: Database,
    vm: VirtualMachine,
    target: Host,
    file: File,
    copies: list[DiskCopy],
    reporter: MoveReporter,
) -> list[str]:
    """Copy a file; a line for the operator."""
    move, fact = file
    source = container_of(vm).name
    if fact is None:
        return [f"{move.path} is not on {source} yet: it is made at the next start"]
    old, new = host_addresses(database, [source]) + host_addresses(database, [target.name])
    disk = MovingDisk(
        move.path,
        move.directory,
        move.new_path,
        move.new_directory,
        vm.uuid,
        fact.size_bytes,
        DiskCopy(target.name, move.new_path) in copies,
    )
    meter = Meter(reporter.progress, move.path, fact.used_bytes)
    awake = monotonic_seconds()

    def watch(passed: int) -> None:
        nonlocal awake
        meter.reach(passed)
        if monotonic_seconds() >= awake + _AWAKE_SECONDS:
            awake = monotonic_seconds()
            leases.read_leases(database, [vm.name])
            database.end_reading()

    database.end_reading()
    digest = move_disk(old, new, FleetSettings(), disk, watch)
    reporter.progress("")
    if dry_run.is_on():
        return []
    size = f"{size_text(fact.size_bytes)}, of which {size_text(fact.used_bytes)} are used"
    return [f"{move.new_path} is on {target.name}: {size}, SHA-256 {digest[:12]} on both hosts"]


def record_move(database: Database, vm: VirtualMachine, target: Host, plan: MovePlan) -> None:
    """The new place and disks; what was a copy is the disk, and what was the disk is a copy, at once."""
    source = container_of(vm).name
    record_on_host(database, vm, target)
    if plan.disks != vm.disks:
        vm_changes.replace_disks(database, vm.name, plan.disks)
    there = [copy for copy in disk_copies.read_copies(database, vm.name) if copy.host == target.name]
    disk_copies.delete_copies(database, vm.name, there)
    left = left_paths(vm, plan.files)
    disk_copies.put_copies(database, vm.name, [DiskCopy(source, path) for path in left])


def record_on_host(database: Database, vm: VirtualMachine, target: Host) -> None:
    """Record the machine on another physical host, which carries its VLANs then.

    The caller ends its transaction and releases the inventory: the next machine of a drain may take hours.
    """
    lock_inventory(database)
    number = node_ids(database, [target.name])[target.name.lower()]
    vm_changes.update_vm(database, vm.name, {"PhysNode": number})
    record_host_vlans(database, host_vlans(database, vm, target))


def remove_left(database: Database, vm: VirtualMachine) -> list[str]:
    """Remove what moves of the machine have left on hosts; lines for the operator."""
    lines = []
    copies = disk_copies.read_copies(database, vm.name)
    for host in dict.fromkeys(copy.host for copy in copies):
        of_host = [copy for copy in copies if copy.host == host]
        errors = remove_files(
            database, vm, host, [path for copy in of_host for path in (copy.path, moving_path(copy.path))]
        )
        if errors:
            lines += [
                f"the old copy of {vm.name} on {host} stays: {error}; to remove it: rocks move host vm {vm.name} "
                f"{container_of(vm).name}"
                for error in errors
            ]
            continue
        disk_copies.delete_copies(database, vm.name, of_host)
        database.commit()
        lines.append(f"the old copy of {vm.name} on {host} is removed")
    return lines
