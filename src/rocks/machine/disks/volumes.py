"""Map the images of virtual machines before a start and unmap them after a stop.

Machines without an image on a NAS cost a single statement: nothing of image storage is loaded for them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import RocksError, StateError, UserError
from rocks.storage.volumes.place_records import disk_locations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.client import Watcher
    from rocks.storage.volumes.map_plan import ImageSpec
    from rocks.storage.volumes.places import DiskLocation


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
    from rocks.storage.volumes.map_plan import plan_images
    from rocks.storage.volumes.move_records import read_moves
    from rocks.storage.volumes.move_rules import check_not_moving

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
    database: Database, machines: Sequence[VirtualMachine], watcher: Watcher, seconds: float | None = None
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
    from rocks.storage.client import questions
    from rocks.storage.limits import WRITE_BACK_SECONDS
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import is_not_mapped

    names = list(dict.fromkeys(disk.vm for disk in disks))
    failed: dict[str, RocksError] = {**lock_vms(database, names)}
    failed.update(_running(database, [vm for vm in machines if vm.name in names and vm.name not in failed]))
    storage = open_storage(database)
    database.commit()
    requests = {
        _volume(disk): questions.unmap_image(disk.nas, _volume(disk))
        for disk in disks
        if disk.vm not in failed
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
    from rocks.storage.client import questions
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.move_records import check_no_moves

    check_no_moves(database, disks)
    nases = sorted({disk.nas for disk in disks})
    warnings = []
    try:
        with open_storage(database) as storage:
            answers = storage.ask_each({nas: questions.images_of(nas) for nas in nases})
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
                    f"host vm {disk.vm} terminate=true, then remove the machine"
                )
    return warnings


def _running(database: Database, machines: Sequence[VirtualMachine]) -> dict[str, RocksError]:
    """The machines that run, or are saved, by their hosts; the message that one has ended may predate its next start.

    A host that does not answer is ignored: its daemon takes no device away from a guest.
    """
    from rocks.fleet.wire.domain_states import is_active
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
    from rocks.storage.volumes.volume_names import volume_name

    return volume_name(disk.vm, disk.number)
