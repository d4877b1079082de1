"""Makes an image of the library of the disk of a stopped virtual machine, which is a raw file of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import BYTES_PER_GB
from rocks.fleet.connection import FleetSettings
from rocks.inventory.address_records import host_addresses
from rocks.inventory.disks.places import directory_of
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_locked
from rocks.library.images import check_added
from rocks.library.library_folder import library_folder, lock_images
from rocks.library.streams import StoredDisk, receive_disk, store_received
from rocks.machine import record as table
from rocks.machine.disks import check_no_doubt
from rocks.machine.domain import DRIVER_TYPES
from rocks.machine.spec import container_of
from rocks.storage.volumes.place_records import disk_locations

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database
    from rocks.inventory.records import Disk, VirtualMachine
    from rocks.library.images import AddedImage
    from rocks.library.records import LibraryImage


def add_image_of_disk(database: Database, added: AddedImage, progress: Callable[[str], None]) -> LibraryImage:
    """Copy a disk of the machine `added.vm` (default: its first) into the library. It cannot be started meanwhile.

    UserError for a disk that it does not have, and for an invalid parameter; StateError when it may be running, or its
    disk is no raw file of a host; BusyError while another command changes it; HostError when the host does not send it.
    """
    max_gb, comment = check_added(added)
    for name, value in (
        ("file", added.file),
        ("url", added.url),
        ("clonezilla", added.clonezilla),
        ("checksum", added.checksum),
        ("format", added.format),
    ):
        if value is not None:
            raise UserError(f"give vm= or {name}=, not both")
    library, machine = library_folder(database), str(added.vm)
    lock_images(database, [added.name])
    ensure_locked(database, [machine])
    (vm,) = table.load_vms(database, [machine])
    check_no_doubt(vm)
    disk, place = _choose(vm, added.disk), container_of(vm)
    _check(database, vm, disk)
    directory = directory_of(place, disk.path)
    if directory is None:
        raise StateError(
            f"{disk.path} is not in an image directory of {place.name}; see rocks list host image"
        )
    (host,) = host_addresses(database, [place.name])
    database.end_reading()  # hours, perhaps
    stored = StoredDisk(disk.path, directory, vm.uuid, max_gb * BYTES_PER_GB)
    return store_received(
        library,
        added.name,
        comment,
        lambda descriptor, watch: receive_disk(host, FleetSettings(), stored, descriptor, watch),
        progress,
    )


def _choose(vm: VirtualMachine, device: str | None) -> Disk:
    found = [disk for disk in vm.disks if device is None or disk.device == device]
    if not found:
        names = ", ".join(disk.device for disk in vm.disks) or "none"
        raise UserError(f"{vm.name} has no disk {printable(device or '')}; it has: {names}")
    return found[0]


def _check(database: Database, vm: VirtualMachine, disk: Disk) -> None:
    lease = leases.read_leases(database, [vm.name]).get(vm.name.lower())
    if lease is not None and lease.is_held:
        raise StateError(
            f"{vm.name} may be running on {lease.host}, and its disk changes then; stop it first: "
            f"rocks stop host vm {vm.name}"
        )
    number = vm.disks.index(disk)
    for location in disk_locations(database, [vm.name]):
        if location.number == number and location.nas:
            raise StateError(
                f"the disk of {vm.name} is on the NAS {location.nas}; clone it there: rocks add host storageimg "
                f"{location.nas} {location.zpool} NAME origin={vm.name}-vol"
            )
    if DRIVER_TYPES.get(disk.type) != "raw":
        raise StateError(
            f"the disk of {vm.name} is {disk.specification}, and images are made of raw files only (file:)"
        )
