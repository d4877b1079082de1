"""Images of virtual machines on NASes: assigned, mapped before a start, unmapped after a stop, destroyed in the end."""

from __future__ import annotations

import secrets
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import BusyError, Code, RocksError, StateError, UserError
from rocks.core.values import read_number
from rocks.inventory.loaded_host_records import load_hosts, which_are_vms
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_locked
from rocks.machine.record import check_all_are_vms, machines_with_devices
from rocks.storage.volumes import place_records
from rocks.storage.volumes.move_records import check_no_moves, check_not_moving, read_moves
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import (
    check_nas,
    check_not_running,
    check_pool_name,
    disks_numbered,
    is_nowhere,
    place_disks,
    pools_of,
    removal_command,
    unlisted_pool,
    volume_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Host, VirtualMachine
    from rocks.storage.client import StorageClient, Watcher
    from rocks.storage.volumes.places import DiskLocation, ImageSpec
    from rocks.storage.wire.replies import ImageRow

    Destroyed = dict[DiskLocation, bool | RocksError]
    """Disk → whether it had an image, which is destroyed; or why that stays."""


# Map the images of virtual machines before a start and unmap them after a stop.
#
# Machines without an image on a NAS cost a single statement: nothing of image storage is loaded for them.


class MappedImages(NamedTuple):
    """Result of `map_vm_images`: machine → a line for each image, notes for the operator, and errors by machine.

    A machine with an error has none of its images mapped. The others have new devices in the database.
    """

    lines: dict[str, list[str]]
    notes: list[str]
    failed: dict[str, RocksError]


def map_vm_images(
    database: Database, machines: Sequence[VirtualMachine], watcher: Watcher, made: list[ImageSpec]
) -> MappedImages:
    """Map all images of the machines to their containers, and record the devices as the disks of the machines.

    `made` receives the images that were not mapped before, also when this is interrupted: `take_back_images` unmaps
    them. An image that is already mapped to the same host counts as mapped. Those of a saved machine are left as they
    are: its guest continues with what its host has, and only with that.

    The caller holds the locks and leases of the machines, and commits. BusyError, and the errors of the broker's
    client, when the broker cannot be reached.
    """
    locations: defaultdict[str, list[DiskLocation]] = defaultdict(list)
    for disk in disk_locations(database, [vm.name for vm in machines]):
        if disk.nas:
            locations[disk.vm].append(disk)
    if not locations:
        return MappedImages({}, [], {})
    return _map(
        database, [(vm, locations[vm.name]) for vm in machines if vm.name in locations], watcher, made
    )


def take_back_images(database: Database, made: Sequence[ImageSpec]) -> dict[str, RocksError]:
    """Unmap images that were mapped for machines that do not run; returns cleanup errors by machine.

    The caller holds the locks of the machines, and no locks in the database. The devices remain the recorded disks of
    the machines, as after a stop.
    """
    if not made:
        return {}
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import joined, not_unmapped_error, unmap_again

    try:
        storage = open_storage(database)
        database.commit()
        with storage:
            return unmap_again(storage, made)
    except RocksError as error:
        errors: dict[str, RocksError] = {}
        for image in made:
            also = not_unmapped_error(image, error)
            errors[image.vm] = joined(errors[image.vm], also) if image.vm in errors else also
        return errors


def _map(
    database: Database,
    machines: Sequence[tuple[VirtualMachine, Sequence[DiskLocation]]],
    watcher: Watcher,
    made: list[ImageSpec],
) -> MappedImages:
    from rocks.leases.lease import read_leases
    from rocks.leases.plan import SAVED
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.bases import create_disks
    from rocks.storage.volumes.map_batches import map_images

    result = MappedImages({}, [], {})
    held = read_leases(database, [vm.name for vm, _ in machines])
    saved = {name for name, lease in held.items() if lease.state == SAVED}
    machines = [(vm, locations) for vm, locations in machines if vm.name.lower() not in saved]
    planned = _planned(database, machines, result.failed)
    if not planned:
        return result
    storage = open_storage(database)
    database.commit()
    with storage:
        disks = create_disks(database, storage, [vm for vm, _ in machines], planned, watcher)
        result.failed.update(disks.failed)
        result.notes.extend(disks.notes)
        planned = [image for image in planned if image.vm not in disks.failed]
        if not planned:
            return result
        tokens = {lease.name.lower(): lease.token for lease in held.values()}
        mapped = map_images(storage, planned, tokens, watcher, made)
    _record_devices(database, mapped.devices, result.lines)
    result.notes.extend(mapped.notes)
    result.failed.update(mapped.failed)
    return result


def _planned(
    database: Database,
    machines: Sequence[tuple[VirtualMachine, Sequence[DiskLocation]]],
    failed: dict[str, RocksError],
) -> list[ImageSpec]:
    """The images to map. Machines whose images are moving, or cannot be mapped, are added to `failed`."""
    from rocks.storage.volumes.move_records import check_not_moving, read_moves
    from rocks.storage.volumes.places import plan_images

    planned: list[ImageSpec] = []
    moves = read_moves(database)
    for vm, locations in machines:
        try:
            check_not_moving(locations, moves)
            planned += plan_images(vm, locations)
        except RocksError as error:
            failed[vm.name] = error
    return planned


def _record_devices(
    database: Database, devices: Mapping[ImageSpec, str], lines: dict[str, list[str]]
) -> None:
    from rocks.storage.volumes.place_records import set_devices

    places = {image.disk_id: device.rpartition("/") for image, device in devices.items()}
    set_devices(database, {disk: (folder, name) for disk, (folder, _, name) in places.items()})
    for image, device in devices.items():
        line = f"{image.nas}:{image.volume} mapped to {image.host}:{device}"
        lines.setdefault(image.vm, []).append(line)


def unmap_vm_images(
    database: Database, machines: Sequence[VirtualMachine], watcher: Watcher, seconds: float | None
) -> Mapping[str, RocksError]:
    """Unmap all images of the machines; returns the errors by machine when the NASes have all other images.

    BusyError for those that a NAS does not have after `seconds`, else after a day; image storage goes on with them.
    An image that is not mapped counts as unmapped; a machine that runs is an error. A machine is locked until its
    NASes have the request, then the connection to the database is closed: the transfers may take hours.
    """
    disks = [disk for disk in disk_locations(database, [vm.name for vm in machines]) if disk.nas]
    if not disks:
        return {}
    from rocks.leases.lease import lock_vms
    from rocks.storage.bus import NoAnswerError
    from rocks.storage.client import asking
    from rocks.storage.limits import WRITE_BACK_SECONDS
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import is_not_mapped

    names = list(dict.fromkeys(disk.vm for disk in disks))
    failed: dict[str, RocksError] = {**lock_vms(database, names)}
    failed.update(_running(database, [vm for vm in machines if vm.name in names and vm.name not in failed]))
    storage = open_storage(database)
    database.commit()
    requests = {
        _volume(disk): asking.unmap_image(disk.nas, _volume(disk)) for disk in disks if disk.vm not in failed
    }
    with storage:
        answers = storage.wait_each(
            requests, WRITE_BACK_SECONDS if seconds is None else seconds, watcher, database.close
        )
    late = [disk for disk in disks if isinstance(answers.get(_volume(disk)), NoAnswerError)]
    for disk in disks:
        answer = answers.get(_volume(disk))
        if isinstance(answer, NoAnswerError):
            volumes = ", ".join(f"{one.nas}:{_volume(one)}" for one in late if one.vm == disk.vm)
            answer = NoAnswerError(f"{volumes} of {disk.vm} is not written back yet: {answer}")
        if isinstance(answer, RocksError) and not is_not_mapped(answer):
            failed.setdefault(disk.vm, answer)
    return failed


def check_no_mapped_images(database: Database, names: Sequence[str]) -> list[str]:
    """StateError when an image of one of the machines is mapped or moved; returns a warning for each silent NAS.

    UserError when this user may not ask.
    """
    disks = [disk for disk in disk_locations(database, names) if disk.nas]
    if not disks:
        return []
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.move_records import check_no_moves

    check_no_moves(database, disks)
    nases = sorted({disk.nas for disk in disks})
    warnings = []
    try:
        with open_storage(database) as storage:
            answers = storage.ask_each({nas: asking.images_of(nas) for nas in nases})
    except UserError:
        raise  # another user, or another environment, gets an answer
    except RocksError as error:
        answers = dict.fromkeys(nases, error)
    for nas in nases:
        rows = answers[nas]
        on_nas = [disk for disk in disks if disk.nas == nas]
        if isinstance(rows, RocksError):
            volumes = ", ".join(_volume(disk) for disk in on_nas)
            warnings.append(
                f"Warning: whether {volumes} of {nas} is still mapped is not known ({rows}); "
                f"rocks list host storagemap {nas} shows it"
            )
            continue
        owners = {row.zvol: row.remotehost for row in rows if row.remotehost is not None}
        for disk in on_nas:
            if _volume(disk) in owners:
                raise StateError(
                    f"host {disk.vm} is not removed: its image {nas}:{_volume(disk)} is mapped to "
                    f"{owners[_volume(disk)]}, perhaps with changes; stop the machine, unmap the image with rocks stop "
                    f"host vm {disk.vm} terminate=yes, then remove the machine"
                )
    return warnings


def _running(database: Database, machines: Sequence[VirtualMachine]) -> dict[str, RocksError]:
    """The machines that run, or are saved, by their hosts; the message that one has ended may predate its next start.

    A host that does not answer is ignored: its daemon takes no device away from a guest.
    """
    from rocks.fleet.wire.facts import is_active
    from rocks.inventory.host_requests import open_fleet
    from rocks.leases.lease import read_leases
    from rocks.leases.machine_requests import contact_hosts
    from rocks.leases.plan import place_of, saved_with_images

    held = read_leases(database, [vm.name for vm in machines])
    places = {vm.name: place_of(vm, held.get(vm.name.lower())) for vm in machines}
    hosts = sorted({place for place in places.values() if place is not None})
    with open_fleet(database, hosts) as fleet:
        facts = contact_hosts(database, fleet, hosts)
    found: dict[str, RocksError] = {}
    for name, place in places.items():
        answer = None if place is None else facts[place]
        if place is None or answer is None or isinstance(answer, RocksError):
            continue
        if any(domain.name.lower() == name.lower() and domain.has_managed_save for domain in answer.domains):
            found[name] = saved_with_images(name, place)
        elif is_active(answer, name):
            found[name] = StateError(
                f"the machine {name} is running on {place}, so its image stays there: rocks stop host vm {name}"
            )
    return found


def _volume(disk: DiskLocation) -> str:
    from rocks.storage.volumes.places import volume_name

    return volume_name(disk.vm, disk.number)


# The images on NASes of machines that are removed, or that get fresh disks: image storage destroys them, at once.
#
# Nothing of image storage is loaded for machines without such disks.
#
# They have no grace period, as files of hosts have none: a class could not get its names again for a day. The
# request has the machine's UUID, so the image of a removed machine of the name stays. They go before the rows,
# so that a repeated command finds what is left. A NAS that does not answer does not stop the removal: a line
# names each image with its command.

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
        str(number): asking.new_query(
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


# Assign disks of virtual machines to a NAS and one of its pools.


def set_vm_nas(database: Database, names: Sequence[str], nas: str, zpool: str, index: str) -> str | None:
    """Record that disk number `index` of each machine is on the host `nas` in `zpool`; `none`: on no NAS.

    Without `zpool` each disk gets one of the NAS's `img_zpools`; returns the warning about another one. Takes effect at
    the next start; a constant number of statements. UserError for an invalid parameter; StateError for a host that is
    not a NAS or not a virtual machine, has no such disk, or may be running while its disk would leave a NAS; BusyError
    while another command changes a machine. Nothing is changed then.
    """
    number = read_number("index", index, 0)
    if zpool:
        check_pool_name(zpool)
    server = None if is_nowhere(nas) else _load_nas(database, nas, names)
    pools = [] if server is None or zpool else pools_of(server)
    check_all_are_vms(names, which_are_vms(database, names))
    ensure_locked(database, names)
    before = disks_numbered(place_records.disk_locations(database, names), names, number)
    if server is None:
        after = [disk._replace(nas="", zpool="") for disk in before]
    elif zpool:
        after = [disk._replace(nas=server.name, zpool=zpool) for disk in before]
    else:
        after = place_disks(before, server.name, pools, secrets.randbelow)
    check_not_moving(before, read_moves(database))
    _check_not_running(database, [old for old, new in zip(before, after, strict=True) if old != new])
    place_records.put_disks(database, after)
    return unlisted_pool(server, zpool) if server is not None and zpool and after != before else None


def remove_vm_nas(database: Database, names: Sequence[str]) -> None:
    """Delete the assignments of disks to a NAS for those hosts that are virtual machines.

    StateError when a machine with a disk on a NAS may be running, BusyError while another command changes one.
    """
    machines = _lock_machines(database, names)
    check_no_moves(database, place_records.disk_locations(database, machines))
    _check_not_running(database, place_records.disk_locations(database, machines))
    place_records.delete_disks(database, machines)


def forget_vm_nas(database: Database, names: Sequence[str]) -> None:
    """As `remove_vm_nas`, for machines that are about to be stopped and removed. Errors as there."""
    machines = _lock_machines(database, names)
    check_no_moves(database, place_records.disk_locations(database, machines))
    place_records.delete_disks(database, machines)


def _load_nas(database: Database, name: str, machines: Sequence[str]) -> Host:
    if not name:
        raise UserError("nas= is missing: give nas=HOST, or nas=none for the disk's own definition")
    (server,) = load_hosts(database, [name])
    if name.lower() in (machine.lower() for machine in machines):
        raise UserError(f"host {name} cannot be the NAS of its own disk; name another NAS")
    check_nas(server)
    return server


def _lock_machines(database: Database, names: Sequence[str]) -> list[str]:
    machines = which_are_vms(database, names)
    ensure_locked(database, machines)
    return machines


def _check_not_running(database: Database, leaving: Sequence[DiskLocation]) -> None:
    disks = [disk for disk in leaving if disk.nas]
    check_not_running(disks, leases.read_leases(database, [disk.vm for disk in disks]).values())
