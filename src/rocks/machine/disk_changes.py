"""Disks of virtual machines: added, removed and grown, in the records and, where a machine runs, in its domain.

A disk is attached before it is recorded, and recorded until it is detached. So a command that was killed in between is
completed by the same command again. The lease covers a new disk before its host is asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import Code, HostError, RocksError, StateError, UserError
from rocks.core.names import in_quotes, printable
from rocks.core.values import read_number
from rocks.fleet.wire.requests import GrowDisk
from rocks.inventory.disks.places import directory_of, with_image_remedy
from rocks.inventory.host_requests import notes_of, open_fleet
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_locked
from rocks.leases.machine_requests import contact_hosts, perform_one
from rocks.leases.plan import place_of
from rocks.machine import record as table
from rocks.machine.converge import change_request, check_place, settled_change
from rocks.machine.disks import check_no_copies, check_no_doubt, read_disk
from rocks.machine.domain import VIRTIO
from rocks.machine.limits import DEFAULT_DISK_GB, LARGEST_DISK_GB
from rocks.machine.plans import check_disk, smaller_image
from rocks.machine.record import machine_with_disk, read_copies, shared_disk_note
from rocks.machine.spec import container_of, disk_spec
from rocks.storage.volumes.place_records import disk_locations

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import DiskFact
    from rocks.inventory.records import Disk, Lease, VirtualMachine
    from rocks.machine.documents import FiltersOf


_NO_DISK = "does not get the disk"


def add_disk(
    database: Database, name: str, specification: str, size_gb: str | None, filters_of: FiltersOf
) -> tuple[str, ...]:
    """Add a disk to a virtual machine and attach it, if the machine runs; returns notes. Commits.

    `size_gb` None is the size that the disk has by its record, for a new one the default. A disk that the machine has
    already is no error when nothing about it differs. UserError for an invalid
    specification; StateError for a disk of another machine, or in a place where no disk may be; BusyError while another
    command changes the machine. Nothing is changed then.
    """
    size = None if size_gb is None else read_number("disksize", size_gb, 1, LARGEST_DISK_GB, "GB")
    disk = read_disk(specification, DEFAULT_DISK_GB if size is None else size)
    vm, lease = _locked(database, name)
    known = next((one for one in vm.disks if one.path == disk.path), None)
    if known is None:
        _check_device(vm, disk)
    elif known.specification != disk.specification:
        raise UserError(f"{name} has the disk {printable(disk.path)} already, as {known.specification}")
    elif size not in (None, known.size_gb):
        raise UserError(
            f"{name} has the disk {printable(disk.path)} already, with {known.size_gb} GB; leave out disksize=, or "
            f"grow it: rocks set host vm disk {name} {known.device} size=GB"
        )
    disk = disk if known is None else known
    _check_disk_place(vm, lease, disk)
    check_no_copies(vm, vm.container, [disk], read_copies(database, name))
    changed = vm if known is not None else replace(vm, disks=(*vm.disks, disk))
    if lease is None:
        notes = shared_disk_note(database, vm, disk)
    else:
        notes = _attach(database, changed, lease, disk, filters_of)
    table.replace_disks(database, name, changed.disks)
    database.commit()
    return notes if lease is not None else (*notes, *_start_warnings(database, changed, disk))


def remove_disk(database: Database, name: str, which: str, filters_of: FiltersOf) -> tuple[str, ...]:
    """Remove a disk, named by its path or device, from a virtual machine; a machine that runs releases it. Commits.

    Its image stays; a note names it, if its host says that it is there. StateError for the only disk, for the first one
    of a machine that runs, and for one on a NAS or before one on a NAS; BusyError when the guest does not release it.
    Nothing is recorded then.
    """
    vm, lease = _locked(database, name)
    disk = _named_disk(vm, which)
    _check_removable(database, vm, disk, lease)
    where = vm.container.name if vm.container is not None else "HOST"
    if lease is not None:
        check_place(vm, lease)
        request = change_request(database, vm, lease, filters_of, detached=[disk.path])
        settled_change(lease, perform_one(database, str(lease.host), request))
        leases.uncover(database, name, (where, disk.path))
    table.replace_disks(database, name, [one for one in vm.disks if one.path != disk.path])
    database.commit()
    if vm.container is None or directory_of(vm.container, disk.path) is None:
        return ()  # a device, or no image: no command of ours removes it
    fact = _fact_of(database, where, disk.path)
    if fact is None or not fact.exists:
        return ()
    other = machine_with_disk(database, where, disk.path)
    if other is not None:
        return (f"the image stays: it is a disk of {other}",)
    return (f"the image stays: rocks remove host image {where} {in_quotes(disk.path)} removes it",)


def grow_disk(database: Database, name: str, which: str, size_gb: str) -> tuple[str, ...]:
    """Grow a disk, named by its path or device, and notify the guest, if the machine runs. Commits.

    UserError for a size below that of a disk on its host. StateError for a size below that of a volume on a NAS, for
    a disk on a NAS of a machine that may run, and when the file system of the host or the pool of the NAS is too small.
    HostError when the host or the NAS does not answer. Nothing is recorded then.
    """
    size = read_number("size", size_gb, 1, LARGEST_DISK_GB, "GB")
    vm, lease = _locked(database, name)
    disk = _named_disk(vm, which)
    if size < disk.size_gb and not disk.is_mapped:  # a NAS knows the size of the volume, which may differ
        raise UserError(f"{disk.path} of {name} has {disk.size_gb} GB; a disk only grows")
    grown = replace(disk, size_gb=size)
    notes = _grow(database, vm, lease, grown, vm.disks.index(disk))
    table.replace_disks(database, name, [grown if one == disk else one for one in vm.disks])
    database.commit()
    return notes


def _grow(
    database: Database, vm: VirtualMachine, lease: Lease | None, grown: Disk, number: int
) -> tuple[str, ...]:
    """Have the disk grow where it is: on its NAS, or on its host."""
    if grown.is_mapped:
        from rocks.storage.volumes.volumes import grow_volume  # most machines need nothing of image storage

        locations = disk_locations(database, [vm.name])
        return grow_volume(database, vm, lease, locations[number], grown.size_gb)
    place = place_of(vm, lease)
    return () if place is None else _grow_on_host(database, vm, lease, grown, place)


def _locked(database: Database, name: str) -> tuple[VirtualMachine, Lease | None]:
    """The machine, locked, and its lease, if a host may run it. StateError while its disks are in doubt."""
    table.load_vms(database, [name])
    ensure_locked(database, [name])
    (vm,) = table.load_vms(database, [name])
    check_no_doubt(vm)
    lease = leases.read_leases(database, [name]).get(name.lower())
    return vm, lease if lease is not None and lease.is_held else None


def _named_disk(vm: VirtualMachine, which: str) -> Disk:
    found = [disk for disk in vm.disks if which in (disk.path, disk.device)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{disk.device} {disk.path}" for disk in vm.disks) or "none"
    problem = "has several disks" if found else "has no disk"
    raise UserError(f"{vm.name} {problem} {printable(which)}; its disks are: {listed}")


def _start_warnings(database: Database, vm: VirtualMachine, disk: Disk) -> tuple[str, ...]:
    """What the host of a machine that is off says of a start with this disk; nothing when it is silent."""
    if vm.container is None or any(one.is_mapped for one in vm.disks):
        return ()
    spec = disk_spec(vm, vm.container, disk, _NO_DISK)
    fact = _fact_of(database, vm.container.name, disk.path)
    if fact is None:
        return ()
    try:
        check_disk(vm.name, spec, fact, "will not start", vm.disks.index(disk))
    except StateError as error:
        return (f"Warning: {error}",)
    has_its_size = fact.exists and not spec.is_block and spec.format == "raw"
    return smaller_image(vm.name, spec, fact.size_bytes) if has_its_size else ()


def _fact_of(database: Database, host: str, path: str) -> DiskFact | None:
    """What the host says of the path; None of a host that is silent. Commits."""
    with open_fleet(database, [host]) as fleet:
        answer = contact_hosts(database, fleet, [host], files={host: [path]})[host]
    found = () if isinstance(answer, RocksError) else answer.disks
    return next((fact for fact in found if fact.path == path), None)


def _check_device(vm: VirtualMachine, disk: Disk) -> None:
    if disk.bus in VIRTIO and not disk.device.startswith("vd"):
        raise UserError(
            f"{vm.name} gets no disk {disk.device} on the bus {disk.bus}: guests name such disks vda, vdb, …; give it "
            "the next of these"
        )
    if any(one.device == disk.device for one in vm.disks):
        raise UserError(
            f"{vm.name} has a disk {disk.device} already; give the new one another device, as vdc"
        )


def _check_disk_place(vm: VirtualMachine, lease: Lease | None, disk: Disk) -> None:
    """StateError for a place in which the machine's host takes no disk, by its record: the host may be off.

    `rocks set host vm disk=` and `rocks add host vm disk=` record any disk, as in Rocks, whose dumps they load.
    """
    # where a machine that is off has a disk on a NAS, a file may follow: then it has no place on the host
    may_follow = lease is None and not disk.is_block and any(one.is_mapped for one in vm.disks)
    if vm.container is not None and not may_follow:
        disk_spec(vm, vm.container, disk, _NO_DISK)


def _check_removable(database: Database, vm: VirtualMachine, disk: Disk, lease: Lease | None) -> None:
    number = vm.disks.index(disk)
    if len(vm.disks) == 1 or (number == 0 and lease is not None):
        raise StateError(
            f"{disk.path} is the first disk of {vm.name}, which boots from it; stop {vm.name} and give it another: "
            f"rocks set host vm {vm.name} disk=…"
        )
    on_nas = [one for one in disk_locations(database, [vm.name]) if one.nas and one.number >= number]
    if on_nas:
        raise StateError(
            f"{disk.path} of {vm.name} is on a NAS, or a later disk is, whose volume is named by its number: "
            f"stop {vm.name}, then rocks set host vm nas {vm.name} nas=none index={on_nas[0].number}"
        )


def _attach(
    database: Database, vm: VirtualMachine, lease: Lease, disk: Disk, filters_of: FiltersOf
) -> tuple[str, ...]:
    """Have the host attach the disk, which the lease covers before; after an error of the host, as it did before."""
    check_place(vm, lease)
    spec = disk_spec(vm, container_of(vm, _NO_DISK), disk, _NO_DISK)
    request = change_request(database, vm, lease, filters_of, disks=[spec])
    key = (container_of(vm).name, disk.path)
    is_new = leases.disk_holders(database, [key]).get(key, "").lower() != vm.name.lower()
    leases.cover_also(database, vm.name, [key])
    holder = leases.disk_holders(database, [key])[key]
    if holder.lower() != vm.name.lower():
        raise StateError(
            f"{vm.name} {_NO_DISK} {disk.path} of {key[0]}: {holder} has it, and may be running; rocks stop host vm "
            f"{holder}, or name another disk"
        )
    database.commit()
    try:
        return settled_change(lease, perform_one(database, str(lease.host), request))
    except HostError:
        raise  # it may have attached the disk: the lease covers it until the command is repeated, or the machine stops
    except RocksError as error:
        if is_new:
            leases.uncover(database, vm.name, key)
            database.commit()
        if error.code in (Code.IMAGE_FOREIGN, Code.IMAGE_UNOWNED):
            error = with_image_remedy(vm, error, _NO_DISK, "name another one")
        raise error from None


def _grow_on_host(
    database: Database, vm: VirtualMachine, lease: Lease | None, disk: Disk, place: str
) -> tuple[str, ...]:
    spec = disk_spec(vm, vm.container or container_of(vm), disk, "does not grow")
    request = GrowDisk(vm.name, spec, None if lease is None else lease.token)
    outcome = perform_one(database, place, request)
    if isinstance(outcome, RocksError):
        raise HostError(f"{disk.path} of {vm.name} does not grow: {place} does not answer ({outcome})")
    return notes_of(outcome)
