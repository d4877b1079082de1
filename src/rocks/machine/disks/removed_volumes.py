"""The images on NASes of machines that are removed, or that get fresh disks: image storage destroys them, at once.

Nothing of image storage is loaded for machines without such disks.

They have no grace period, as files of hosts have none: a class could not get its names again for a day. The
request has the machine's UUID, so the image of a removed machine of the name stays. They go before the rows,
so that a repeated command finds what is left. A NAS that does not answer does not stop the removal: a line
names each image with its command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import BusyError, Code, RocksError, StateError
from rocks.machine.disks.owner_records import machines_with_devices
from rocks.storage.volumes.places import removal_command, volume_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.client import StorageClient
    from rocks.storage.volumes.places import DiskLocation
    from rocks.storage.wire.replies import ImageRow

    Destroyed = dict[DiskLocation, bool | RocksError]
    """Disk → whether it had an image, which is destroyed; or why that stays."""

_LOOK_SECONDS = 0.5


class DestroyingError(BusyError):
    """The NAS has accepted that it destroys the image at once, and has not ended that yet."""


class UnknownEndError(BusyError):
    """The NAS has not answered the request to destroy the image, and may have taken it."""


def destroy_volumes(
    database: Database, machines: Sequence[VirtualMachine], disks: Sequence[DiskLocation]
) -> Destroyed:
    """Destroy the images of these disks of the machines, which are locked and off; no disk is missing in the answer.

    An image stays when it bears the UUID of another machine, another machine has its device as a disk, a host has it
    mapped, or other images are its clones; clones that are destroyed by the same call do not count. A volume that its
    NAS does not list stays, too: nobody knows whose it is. The caller's transaction is ended.
    """
    on_nas = [disk for disk in disks if disk.nas and disk.zpool]
    result: Destroyed = dict.fromkeys(disks, False)
    if not on_nas:
        return result
    from rocks.storage.volumes.access import open_storage

    uuids = {vm.name: vm.uuid for vm in machines}
    users = _other_users(database, on_nas)
    try:
        storage = open_storage(database)
        database.commit()
        with storage:
            checked = _checked(storage, on_nas, uuids, users)
            result.update({disk: found for disk, found in checked.items() if isinstance(found, RocksError)})
            pending = [disk for disk in on_nas if checked[disk] is True]
            while pending:
                result.update(_destroy(storage, pending, uuids))
                if not any(result[disk] is True for disk in pending):
                    break
                # clones are destroyed before their origins
                pending = [disk for disk in pending if _may_have_had_clones(result[disk])]
    except RocksError as error:
        result.update({disk: error for disk in on_nas if result[disk] is False})
    return result


def unlisted_line(disk: DiskLocation) -> str:
    """That the NAS does not list an image that a removed machine may have had, and the command that removes it."""
    volume = volume_name(disk.vm, disk.number)
    return (
        f"{disk.nas} does not list an image {disk.zpool}/{volume} of {disk.vm}; if the pool has that volume all the "
        f"same, and it is not needed: {removal_command(disk.nas, disk.zpool, volume)} now=yes"
    )


def staying_line(disk: DiskLocation) -> str:
    """That the image of a removed machine, which was started once, is not removed, and the command that removes it."""
    volume = volume_name(disk.vm, disk.number)
    return (
        f"the image {disk.nas}:{disk.zpool}/{volume} of {disk.vm} stays if there is one; when it is not needed: "
        f"{removal_command(disk.nas, disk.zpool, volume)}"
    )


def line_of(disk: DiskLocation, error: RocksError) -> str:
    """Why the image of a removed machine stays, and the command that removes it."""
    volume = volume_name(disk.vm, disk.number)
    return (
        f"the image {disk.nas}:{disk.zpool}/{volume} of {disk.vm} may stay: {error}; when it is not needed: "
        f"{removal_command(disk.nas, disk.zpool, volume)} now=yes"
    )


def _other_users(database: Database, disks: Sequence[DiskLocation]) -> dict[DiskLocation, StateError]:
    """Errors for the disks whose device is a disk of another machine, too: an operator has given it that."""
    from rocks.storage.image.names import guest_device

    devices = {disk: guest_device(volume_name(disk.vm, disk.number)) for disk in disks}
    users = machines_with_devices(database, list(devices.values()))
    found = {}
    for disk, device in devices.items():
        others = [name for name in users.get(device, ()) if name.lower() != disk.vm.lower()]
        if others:
            found[disk] = StateError(f"its device {device} is a disk of {others[0]}, too")
    return found


def _checked(
    storage: StorageClient,
    disks: Sequence[DiskLocation],
    uuids: Mapping[str, str],
    users: Mapping[DiskLocation, StateError],
) -> Destroyed:
    """The errors that are known before anything is requested, and whether the NAS lists the image."""
    from rocks.storage.client import asking

    answers = storage.ask_each({nas: asking.images_of(nas) for nas in sorted({disk.nas for disk in disks})})
    found: Destroyed = {}
    for disk in disks:
        rows = answers[disk.nas]
        if isinstance(rows, RocksError):
            found[disk] = rows
        elif disk in users:
            found[disk] = users[disk]
        else:
            volume = volume_name(disk.vm, disk.number)
            row = next((row for row in rows if row.zvol == volume), None)
            is_foreign = row is not None and row.machine not in ("", uuids[disk.vm])
            found[disk] = _of_another(row) if row is not None and is_foreign else row is not None
    return found


def _of_another(row: ImageRow) -> StateError:
    return StateError(
        f"it bears the UUID of another machine ({row.machine}), which was removed or made anew",
        code=Code.IMAGE_FOREIGN,
    )


def _destroy(storage: StorageClient, disks: Sequence[DiskLocation], uuids: Mapping[str, str]) -> Destroyed:
    """Request that, and wait until the images are gone."""
    from rocks.storage.bus import NoAnswerError
    from rocks.storage.client import asking
    from rocks.storage.limits import MAP_SECONDS
    from rocks.storage.wire.requests import DelZvol

    requests = {
        str(number): asking.question(
            disk.nas, DelZvol(disk.zpool, volume_name(disk.vm, disk.number), machine=uuids[disk.vm])
        )
        for number, disk in enumerate(disks)
    }
    answers = storage.ask_each(requests, MAP_SECONDS)
    result: Destroyed = {}
    for number, disk in enumerate(disks):
        answer = answers[str(number)]
        if isinstance(answer, NoAnswerError):
            result[disk] = UnknownEndError(f"{answer}")
        elif isinstance(answer, RocksError):
            result[disk] = False if answer.code is Code.IMAGE_UNKNOWN else answer
        else:
            result[disk] = True
    if not dry_run.is_on():
        result.update(_wait_until_gone(storage, [disk for disk in disks if result[disk] is True]))
    return result


def _wait_until_gone(storage: StorageClient, disks: Sequence[DiskLocation]) -> dict[DiskLocation, RocksError]:
    """The errors of the images that are not."""
    from rocks.core.clock import Deadline, wait_seconds
    from rocks.storage.client import asking
    from rocks.storage.volumes.volumes import GONE_SECONDS

    waiting: list[DiskLocation] = list(disks)
    failed: dict[DiskLocation, RocksError] = {}
    deadline = Deadline(GONE_SECONDS)
    while waiting and not deadline.passed():
        nases = sorted({disk.nas for disk in waiting})
        answers = storage.ask_each({nas: asking.images_of(nas) for nas in nases})
        for disk in list(waiting):
            rows, volume = answers[disk.nas], volume_name(disk.vm, disk.number)
            if isinstance(rows, RocksError):
                failed[disk] = DestroyingError(f"it is still being destroyed ({rows})")
                waiting.remove(disk)
                continue
            row = next((row for row in rows if row.zvol == volume), None)
            if row is None:
                waiting.remove(disk)
            elif row.state != "deleting":
                failed[disk] = StateError(f"it is {row.state}: {row.reason or 'see the log of its NAS'}")
                waiting.remove(disk)
        if waiting:
            wait_seconds(_LOOK_SECONDS)
    still = {disk: DestroyingError("it is still being destroyed") for disk in waiting}
    return {**failed, **still}


def _may_have_had_clones(answer: bool | RocksError) -> bool:
    return isinstance(answer, StateError) and answer.code is not Code.IMAGE_FOREIGN
