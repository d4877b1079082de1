"""The size of a disk on a NAS: the NAS grows the volume, then the record follows.

The volume's size is what counts: a map takes it, whatever the record says. A command that was killed in between is
completed by the same command again.

It grows only while no host has it, in a state of its own, since the tables of a mapped one would have to
change their sizes at one moment. It never shrinks, and the pool must have the space that a map needs. A
host's smaller copy stays usable as the base of a difference; to quarantine it would cost a whole copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import Code, RocksError, StateError
from rocks.core.units import BYTES_PER_GIB
from rocks.leases.plan import SAVED
from rocks.storage.client import asking
from rocks.storage.limits import MAP_SECONDS
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.move_records import check_no_moves
from rocks.storage.volumes.volume_names import volume_name
from rocks.storage.wire.requests import GrowZvol

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.storage.volumes.places import DiskLocation


def grow_volume(
    database: Database, vm: VirtualMachine, lease: Lease | None, location: DiskLocation, size_gib: int
) -> tuple[str, ...]:
    """Have the NAS grow the volume of a disk of the machine, which is locked; returns notes.

    StateError while a host may have the image, and for a volume that is larger. An image that its first start will make
    needs nothing: it gets the size of the record, which may be smaller.
    """
    _check_is_off(vm, lease, location)
    check_no_moves(database, [location])
    volume = volume_name(location.vm, location.number)
    request = GrowZvol(location.zpool, volume, size_gib * BYTES_PER_GIB, vm.uuid)
    try:
        with open_storage(database) as storage:
            storage.ask(asking.question(location.nas, request), MAP_SECONDS)
    except RocksError as error:
        if error.code is Code.IMAGE_UNKNOWN:
            return (f"{location.nas} has no volume {volume} yet: the next start of {vm.name} makes it",)
        raise
    return ()


def _check_is_off(vm: VirtualMachine, lease: Lease | None, location: DiskLocation) -> None:
    """StateError while the machine may run, or its memory is saved: its guest has the present size."""
    if lease is None:
        return
    volume = volume_name(location.vm, location.number)
    stop = f"rocks stop host vm {vm.name}{' saved=remove' if lease.state == SAVED else ''}"
    state = "is saved" if lease.state == SAVED else "may be running"
    raise StateError(
        f"{vm.name} {state} on {lease.host}, and its disk {location.nas}:{location.zpool}/{volume} grows only while "
        f"no host has it: {stop}, then rocks stop host vm {vm.name} terminate=true, which waits until its changes are "
        "written back, then repeat the command"
    )
