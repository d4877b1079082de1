"""Give virtual machines that are about to start the images that NASes keep for them.

Machines without one cost a single statement: nothing of image storage is loaded then.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rocks.database.image_places import disk_locations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.cluster.image_places import DiskLocation
    from rocks.cluster.image_plan import ImageSpec
    from rocks.database.connection import Database
    from rocks.errors import RocksError
    from rocks.imgstorage.client import Watcher


class MappedImages(NamedTuple):
    """What is mapped, a line each; what a person should know; and machines that have none of their images mapped."""

    lines: list[str]
    notes: list[str]
    failed: dict[str, RocksError]


def map_vm_images(
    database: Database, names: Sequence[str], watcher: Watcher, made: list[ImageSpec]
) -> MappedImages:
    """Map all images of the named machines to their containers, and make the devices the machines' disks.

    `made` gets those that were not mapped before, also when this is interrupted: `take_back_images` undoes them.

    All of a machine's images are mapped, or those that this mapped are unmapped again and its error is in the answer.
    What is mapped to the same host already is as wanted. The machines' locks and leases are held by the caller, who
    commits. BusyError and the like when the broker cannot be asked at all.
    """
    kept: defaultdict[str, list[DiskLocation]] = defaultdict(list)
    for disk in disk_locations(database, names):
        if disk.nas:
            kept[disk.vm].append(disk)
    if not kept:
        return MappedImages([], [], {})
    return _map(database, kept, watcher, made)


def take_back_images(database: Database, made: Sequence[ImageSpec]) -> dict[str, RocksError]:
    """Unmap what was mapped for machines that do not run; returns machine → what may still be mapped, and why.

    The machines' locks are held by the caller, and nothing of the database. The disks of the machines stay the
    devices, as after the end of a machine.
    """
    if not made:
        return {}
    from rocks.actions.reach_storage import open_storage
    from rocks.actions.undo_maps import joined, may_be_mapped, unmap_again
    from rocks.errors import RocksError

    try:
        storage = open_storage(database)
        database.commit()
        with storage:
            return unmap_again(storage, made)
    except RocksError as error:
        left: dict[str, RocksError] = {}
        for image in made:
            also = may_be_mapped(image, error)
            left[image.vm] = joined(left[image.vm], also) if image.vm in left else also
        return left


def _map(
    database: Database, kept: Mapping[str, list[DiskLocation]], watcher: Watcher, made: list[ImageSpec]
) -> MappedImages:
    from rocks.actions.map_images import map_images
    from rocks.actions.reach_storage import open_storage
    from rocks.cluster.image_plan import plan_images
    from rocks.database.image_places import set_devices
    from rocks.database.leases import read_leases
    from rocks.database.vms import load_vms
    from rocks.errors import RocksError

    result = MappedImages([], [], {})
    planned = []
    for vm in load_vms(database, list(kept)):
        try:
            planned += plan_images(vm, kept[vm.name])
        except RocksError as error:
            result.failed[vm.name] = error
    tokens = {lease.name.lower(): lease.token for lease in read_leases(database, list(kept)).values()}
    if not planned:
        return result
    storage = open_storage(database)
    database.commit()
    with storage:
        mapped = map_images(storage, planned, tokens, watcher, made)
    set_devices(
        database,
        {
            image.disk_id: (device.rpartition("/")[0], device.rpartition("/")[2])
            for image, device in mapped.devices.items()
        },
    )
    result.lines.extend(
        f"{image.nas}:{image.volume} mapped to {image.host}:{device}"
        for image, device in mapped.devices.items()
    )
    result.notes.extend(mapped.notes)
    result.failed.update(mapped.failed)
    return result
