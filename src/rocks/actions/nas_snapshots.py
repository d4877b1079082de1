"""Snapshots of machines whose disks are on NASes: held snapshots of the volumes, all of one moment; and the way back.

The holds are the record (`rocks.wire.held_snapshots`). Of a machine that runs, its NASes first take the changes so far;
then its file systems are frozen until they have the rest, some seconds.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from rocks.actions.host_requests import error_of, open_fleet, perform_operations
from rocks.actions.moving_images import Watching, pull_each
from rocks.actions.storage_access import open_storage
from rocks.cluster.image_places import DiskLocation
from rocks.cluster.image_plan import plan_images, volume_name
from rocks.cluster.start_plan import container_of
from rocks.database.image_places import disk_locations
from rocks.errors import CLASSES, Code, RocksError, StateError
from rocks.imgstorage.client import questions
from rocks.imgstorage.client.asking import MAP_SECONDS
from rocks.wire.agent import FreezeGuest, ThawGuest
from rocks.wire.held_snapshots import moment_tag, part_tag, read_tag
from rocks.wire.imgstorage import HoldSnapshot
from rocks.wire.snapshots import FROZEN, MACHINE_OFF

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.cluster.image_plan import ImageSpec
    from rocks.cluster.records import Lease, VirtualMachine
    from rocks.database.connection import Database
    from rocks.imgstorage.client import StorageClient
    from rocks.imgstorage.client.answers import SnapshotRow

_LIST_SECONDS = 60.0
_FROZEN_SECONDS = 60.0
"""How long the NASes may take for the rest of the changes: a longer freeze than 90 seconds is ended by the host."""


class Part(NamedTuple):
    """A snapshot of one disk. `moment` is empty for a machine that ran and was not frozen."""

    disk: DiskLocation
    row: SnapshotRow
    number: int
    total: int
    moment: str


Parts = dict[tuple[str, str], list[Part]]
"""Machine and name of the snapshot → the parts, in the order of the disks."""


def read_parts(database: Database, names: Sequence[str]) -> tuple[Parts, dict[str, RocksError]]:
    """The snapshots of the named machines on their NASes; and errors by NAS."""
    disks = {
        f"{disk.nas}:{disk.vm}:{disk.number}": disk for disk in disk_locations(database, names) if disk.nas
    }
    if not disks:
        return {}, {}
    try:
        with open_storage(database) as storage:
            answers = storage.ask_each(
                {
                    key: questions.snapshots_of(disk.nas, volume_name(disk.vm, disk.number))
                    for key, disk in disks.items()
                },
                _LIST_SECONDS,
            )
    except RocksError as error:
        return {}, {disk.nas: error for disk in disks.values()}
    found: Parts = {}
    errors: dict[str, RocksError] = {}
    for key, disk in disks.items():
        rows = answers[key]
        if not isinstance(rows, RocksError):
            for name, part in _parts(disk, rows):
                found.setdefault((disk.vm, name), []).append(part)
        elif rows.code is not Code.IMAGE_UNKNOWN:  # one that was never started has no image
            errors[disk.nas] = rows
    return {key: sorted(parts, key=lambda part: part.number) for key, parts in found.items()}, errors


def _parts(disk: DiskLocation, rows: Sequence[SnapshotRow]) -> Iterator[tuple[str, Part]]:
    for row in rows:
        tags = [tag for hold in row.tags if (tag := read_tag(hold)) is not None]
        moments = {tag.snapshot: tag.moment for tag in tags if tag.moment}
        for tag in tags:
            if not tag.moment:
                yield tag.snapshot, Part(disk, row, tag.number, tag.total, moments.get(tag.snapshot, ""))


def is_complete(parts: Sequence[Part]) -> bool:
    """Whether the snapshot has all disks."""
    return [part.number for part in parts] == list(range(1, parts[0].total + 1))


def images_of(database: Database, vm: VirtualMachine) -> list[ImageSpec]:
    """The images of the machine's disks; empty for a machine without a NAS. StateError when only some are on a NAS."""
    images = plan_images(vm, disk_locations(database, [vm.name]))
    if images and len(images) != len(vm.disks):
        on_nas = ", ".join(f"{image.nas}:{image.volume}" for image in images)
        raise StateError(
            f"{vm.name} has no snapshots: {on_nas} is on a NAS, and another disk is not, so they would not be of one "
            "moment"
        )
    return images


def add(
    database: Database,
    vm: VirtualMachine,
    images: Sequence[ImageSpec],
    lease: Lease | None,
    snapshot: str,
    left: Sequence[Part],
) -> tuple[str, ...]:
    """Have a snapshot of all disks; returns notes. `lease`: of a machine that runs, None when it is off.

    `left` are the parts that an interrupted command has left: they are made anew. StateError when the disks would be of
    different moments; BusyError or another error of a NAS when it does not take the changes.
    """
    with open_storage(database) as storage:
        if left:
            _release(storage, [part.disk for part in left], snapshot)
        try:
            if lease is None:
                _hold(storage, images, snapshot, is_off=True)
                return ()
            return _of_running(database, storage, vm, images, lease, snapshot)
        except BaseException:
            with contextlib.suppress(RocksError):  # the first error is the one to report
                _release(storage, [_location(image) for image in images], snapshot)
            raise


def _location(image: ImageSpec) -> DiskLocation:
    return DiskLocation(image.vm, image.number, image.disk_id, image.nas, image.zpool)


def _of_running(
    database: Database,
    storage: StorageClient,
    vm: VirtualMachine,
    images: Sequence[ImageSpec],
    lease: Lease,
    snapshot: str,
) -> tuple[str, ...]:
    name, host = vm.name, container_of(vm).name
    why = f"{name} gets no snapshot, since its changes are not written back"
    pull_each(storage, images, why, Watching(None))
    problem = _perform(database, host, FreezeGuest(name, lease.token))
    if problem is not None:
        if len(images) > 1:
            raise StateError(
                f"{name} gets no snapshot: its disks would be of different moments, since its file systems are not "
                f"frozen ({problem}); stop it first, or have its guest agent run"
            )
        _hold(storage, images, snapshot, is_off=False)
        return (f"the file systems of {name} were not frozen, so it is as after a power cut: {problem}",)
    try:
        pull_each(storage, images, why, Watching(None), _FROZEN_SECONDS)
        guids = _hold(storage, images, snapshot, is_off=False)
    finally:
        problem = _perform(database, host, ThawGuest(name, lease.token))
    if problem is not None:
        if len(images) > 1:
            raise StateError(f"{name} gets no snapshot: its disks may be of different moments: {problem}")
        return (f"the file systems of {name} may not have been frozen all the time: {problem}",)
    tags = (moment_tag(snapshot, FROZEN),)
    for image, guid in zip(images, guids, strict=True):
        storage.ask(
            questions.hold_snapshot(image.nas, HoldSnapshot(image.volume, tags, True, guid, image.machine)),
            MAP_SECONDS,
        )
    return (f"the file systems of {name} were frozen at that moment",)


def _hold(storage: StorageClient, images: Sequence[ImageSpec], snapshot: str, *, is_off: bool) -> list[str]:
    """Hold a snapshot of each; their guids."""
    guids = []
    for number, image in enumerate(images, start=1):
        tags = [moment_tag(snapshot, MACHINE_OFF)] if is_off else []
        tags.append(part_tag(snapshot, number, len(images)))
        request = HoldSnapshot(image.volume, tuple(tags), not is_off, "", image.machine)
        guids.append(storage.ask(questions.hold_snapshot(image.nas, request), MAP_SECONDS).guid)
    return guids


def _perform(database: Database, host: str, operation: FreezeGuest | ThawGuest) -> RocksError | None:
    with open_fleet(database, [host]) as fleet:
        ((_, outcome),) = perform_operations(fleet, {host: [operation]})
    return error_of(outcome)


def restore(
    database: Database, vm: VirtualMachine, parts: Sequence[Part], later: Sequence[str]
) -> tuple[str, ...]:
    """Make the snapshot the content of the disks of a machine that is off; returns notes.

    What they have now stays on the NAS under other names, and so do the `later` snapshots, which are of that. Raises
    the first error of a NAS; the same call completes a restore that was interrupted.
    """
    asked = {
        str(part.number): questions.restore_image(
            part.disk.nas, volume_name(vm.name, part.disk.number), part.row.name
        )
        for part in parts
    }
    with open_storage(database) as storage:
        answers = storage.wait_each(asked, MAP_SECONDS)
    failed = [error for error in answers.values() if isinstance(error, RocksError)]
    if failed:
        some = (
            ""
            if len(failed) == len(parts)
            else ", and some of its disks are: repeat the command before a start"
        )
        raise CLASSES[failed[0].family](f"{vm.name} is not restored{some}: {failed[0]}", code=failed[0].code)
    disks = ", ".join(f"{part.disk.nas}:{volume_name(vm.name, part.disk.number)}" for part in parts)
    with_it = f", with the later snapshots {', '.join(later)}" if later else ""
    return (f"the former content of {disks} stays there under a name with -before-{with_it}",)


def remove(database: Database, parts: Sequence[Part], snapshot: str) -> None:
    """Release the snapshots of the disks. Raises the error of a NAS."""
    with open_storage(database) as storage:
        _release(storage, [part.disk for part in parts], snapshot)


def _release(storage: StorageClient, disks: Sequence[DiskLocation], snapshot: str) -> None:
    for disk in disks:
        volume = volume_name(disk.vm, disk.number)
        storage.ask(questions.release_snapshot(disk.nas, volume, snapshot), MAP_SECONDS)
