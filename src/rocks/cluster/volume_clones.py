"""The disks of cluster copies whose original is on NASes: clones of a snapshot of each disk of the original."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import CLASSES, RocksError, StateError
from rocks.inventory.attributes.records import replace_attribute
from rocks.leases.lease import ensure_locked, read_leases
from rocks.library.guest_images import CLONE_ATTRIBUTE, IMAGE_ATTRIBUTE
from rocks.storage.volumes.move_records import read_moves
from rocks.storage.volumes.move_rules import check_not_moving
from rocks.storage.volumes.place_records import disk_locations, put_disks
from rocks.storage.volumes.volume_names import volume_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.client import StorageClient
    from rocks.storage.volumes.places import DiskLocation
    from rocks.storage.wire.requests import NewClone

CLONES_AT_ONCE = 40
"""Clones in one request: the NAS answers other requests between two."""


class NasClone(NamedTuple):
    """A machine, and the one of the original whose disk it gets."""

    original: str
    clone: str


def disks_on_nas(database: Database, machines: Sequence[VirtualMachine]) -> dict[str, DiskLocation]:
    """Machine → the place of its disk, when the disks of all are on NASes; empty when none is.

    StateError when only some are, a machine may be running, or has no image: its copy would get no name of its own.
    """
    found = {disk.vm: disk for disk in disk_locations(database, [vm.name for vm in machines]) if disk.nas}
    if not found:
        return {}
    for vm in machines:
        if vm.name not in found:
            raise StateError(
                f"the disk of {vm.name} is on its host and others of its cluster are on a NAS; only clusters with all "
                "disks on NASes or none are cloned: give image=NAME (rocks list image)"
            )
        if not vm.host.attribute(IMAGE_ATTRIBUTE):
            raise StateError(
                f"{vm.name} was not made from an image, so a copy of its disk would keep its name and addresses; if it "
                f"has cloud-init, set its image: rocks set host attr {vm.name} {IMAGE_ATTRIBUTE} NAME, else "
                "give image=NAME (rocks list image)"
            )
        if not found[vm.name].zpool:
            raise StateError(
                f"the disk of {vm.name} is on {found[vm.name].nas} and has no pool: rocks set host vm nas {vm.name} "
                f"nas={found[vm.name].nas} zpool=POOL"
            )
    ensure_locked(database, list(found))
    for lease in read_leases(database, list(found)).values():
        if lease.is_held:
            raise StateError(
                f"{lease.name} may be running on {lease.host}, and its disk is cloned as it is on the NAS: stop it, "
                f"and wait until its changes are there (rocks stop host vm {lease.name}, then the same with "
                "terminate=true)"
            )
    check_not_moving(list(found.values()), read_moves(database))
    return found


def create_volumes(
    database: Database,
    disks: Mapping[str, DiskLocation],
    clones: Sequence[NasClone],
    progress: Callable[[str], None],
) -> None:
    """Make the volumes of the clones; what an interrupted command made is used again. No transaction may be open.

    After an error the volumes that were made stay for a repeated command.
    """
    from rocks.storage.volumes.access import open_storage

    of_pool: defaultdict[tuple[str, str], list[NasClone]] = defaultdict(list)
    for one in clones:
        of_pool[disks[one.original].nas, disks[one.original].zpool].append(one)
    with open_storage(database) as storage:
        for (nas, zpool), chosen in of_pool.items():
            try:
                _clone(storage, nas, zpool, chosen, progress)
            except RocksError as error:
                raise CLASSES[error.family](
                    f"nothing was added: {error}; volumes that {nas} has made are used when the command is repeated",
                    code=error.code,
                ) from None


def record_places(database: Database, disks: Mapping[str, DiskLocation], clones: Sequence[NasClone]) -> None:
    """Record that the disks of the clones are where those of the original are, and copies of them."""
    places = {disk.vm: disk for disk in disk_locations(database, [one.clone for one in clones])}
    located = []
    for one in clones:
        original = disks[one.original]
        located.append(places[one.clone]._replace(nas=original.nas, zpool=original.zpool))
    put_disks(database, located)
    # without it, a machine that gets the name later would boot the disk that a killed command has left
    for name in {one.original for one in clones}:
        copies = [one.clone for one in clones if one.original == name]
        replace_attribute(database, "host", copies, CLONE_ATTRIBUTE, volume_name(name, 0))


def _clone(
    storage: StorageClient, nas: str, zpool: str, clones: Sequence[NasClone], progress: Callable[[str], None]
) -> None:
    from rocks.storage.client import questions
    from rocks.storage.limits import MAP_SECONDS
    from rocks.storage.wire import requests as wire

    sources = sorted({volume_name(one.original, 0) for one in clones})
    snapshots = storage.ask(questions.question(nas, wire.FreezeZvols(zpool, tuple(sources))), MAP_SECONDS)
    requests = [
        wire.NewClone(volume_name(one.clone, 0), f"{source}@{snapshots[source]}")
        for one in clones
        for source in [volume_name(one.original, 0)]
    ]
    for first in range(0, len(requests), CLONES_AT_ONCE):
        some = tuple(requests[first : first + CLONES_AT_ONCE])
        made = storage.ask(questions.question(nas, wire.CloneZvols(zpool, some, replaces=True)), MAP_SECONDS)
        if made.missing:
            lost = lost_snapshots(some, made.missing)
            raise StateError(f"{nas} has lost the snapshot {', '.join(lost)}; repeat the command")
        progress(f"{nas}:{zpool}: {first + len(some)} of {len(requests)} disks are cloned")


def lost_snapshots(requested: Sequence[NewClone], missing: Sequence[str]) -> list[str]:
    """The snapshots, VOLUME@NAME, of which the missing volumes were to be clones."""
    return sorted({clone.origin for clone in requested if clone.zvol in missing})
