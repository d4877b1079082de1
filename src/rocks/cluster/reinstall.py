"""Give virtual machines fresh disks: the old ones are removed, and the next start makes new ones from images.

Or the new ones are clones of another machine's disk on a NAS, made at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.clone import check_at_rest, check_owner, clone_volumes, freeze_volumes
from rocks.core import dry_run
from rocks.core.errors import CLASSES, BusyError, Code, HostError, RocksError, StateError, UserError
from rocks.core.names import first_few
from rocks.inventory.attributes.records import delete_attributes, replace_attribute
from rocks.inventory.cluster_records import own_clusters
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_epoch, ensure_locked, lock_vms
from rocks.leases.plan import SAVED
from rocks.library.guest_images import (
    CLONE_ATTRIBUTE,
    IMAGE_ATTRIBUTE,
    INSTANCE_ATTRIBUTE,
    VOLUME_PREFIX,
    check_disk_size,
    check_source_name,
    check_source_place,
    source_disk,
    volume_of,
)
from rocks.library.library_folder import find_source, lock_images
from rocks.machine import record as table
from rocks.machine.disks import check_no_doubt
from rocks.machine.images import check_erase, remove_disk
from rocks.machine.outcomes import Outcomes
from rocks.machine.snapshots import list_snapshots
from rocks.machine.stop import stop_machines
from rocks.machine.volumes import DestroyingError, UnknownEndError, destroy_volumes
from rocks.storage.image.states import UNMAPPED
from rocks.storage.volumes.move_records import check_not_moving, read_moves, wait_for_removals
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import removal_command, volume_name
from rocks.storage.wire.names import is_base
from rocks.storage.wire.requests import NewClone

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.host_requests import Progress
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.library.guest_images import Source
    from rocks.storage.client import StorageClient, Watcher
    from rocks.storage.client.asking import Query
    from rocks.storage.volumes.places import DiskLocation
    from rocks.storage.wire.replies import ImageRow, SnapshotsOfImage


# Whether a virtual machine can get a fresh disk, made from its image at the next start.


_NOT_DESTROYED = ("blocked", "restoring", "moving", "growing", "arriving")
"""States of an image in which the NAS refuses a removal."""


def check_has_image(vm: VirtualMachine) -> None:
    """StateError unless a start makes the machine's first disk from an image where that does not exist."""
    if not vm.host.attribute(IMAGE_ATTRIBUTE):
        raise StateError(
            f"{vm.name} has no image (attribute {IMAGE_ATTRIBUTE}), so a fresh disk would be empty; rocks set "
            f"host attr {vm.name} {IMAGE_ATTRIBUTE} IMAGE gives it one. To install it from an ISO of the library: "
            f"rocks set host boot {vm.name} action=os, rocks set host vm cdrom {vm.name} image=ISO, then rocks start "
            f"host vm {vm.name}",
            code=Code.DISK_HAS_NO_IMAGE,
        )
    if vm.container is None or not vm.disks:
        raise StateError(
            f"{vm.name} has no physical host, or no disk: rocks list host vm {vm.name} showdisks=yes"
        )
    if not vm.disks[0].is_mapped and source_disk(vm) is None:
        raise StateError(
            f"the first disk of {vm.name}, {vm.disks[0].path}, is no raw image file and not on a NAS; only such disks "
            "are made from images"
        )


def check_is_off(vm: VirtualMachine, lease: Lease | None, force: bool) -> None:
    """StateError while the machine may run, unless `force`, and while its memory is saved."""
    if lease is None or not lease.is_held:
        return
    if lease.state == SAVED:
        raise StateError(
            f"{vm.name} is saved on {lease.host}, and its memory belongs to its disk: start it (rocks start host vm "
            f"{vm.name}), or discard the memory (rocks stop host vm {vm.name} saved=remove)"
        )
    if not force:
        raise StateError(
            f"{vm.name} may be running on {lease.host}: stop it (rocks stop host vm {vm.name}), or add force=yes, "
            "which powers it off"
        )


def check_source(vm: VirtualMachine, source: Source) -> None:
    """StateError when the image is larger than the disk, or on a NAS when that is not: none would be made."""
    check_source_place(vm)
    check_disk_size(vm.name, vm.disks[0], source.name, source.size_bytes)


def check_source_volume(
    vm: VirtualMachine, disk: DiskLocation, rows: Iterable[ImageRow], removed: Container[str]
) -> None:
    """StateError when the disk is to be a clone of a volume of its NAS which makes none, or is one of those `removed`.

    `rows` are the images of the NAS.
    """
    volume = volume_of(vm.host.attribute(IMAGE_ATTRIBUTE))
    if not volume:
        return
    begin = f"{vm.name} would get no disk: it is to be made from the volume {volume}"
    set_other = f"rocks reinstall host vm {vm.name} image=IMAGE makes it from an image"
    row = next((row for row in rows if (row.zvol, row.zpool) == (volume, disk.zpool)), None)
    if row is None:
        raise StateError(f"{begin}, and {disk.nas} has no image of that name in {disk.zpool}; {set_other}")
    if volume in removed:
        raise StateError(f"{begin}, which this command removes; {set_other}")
    if row.state != UNMAPPED or row.remotehost is not None:
        where = f" on {row.remotehost}" if row.remotehost else ""
        raise StateError(
            f"{begin}, which is {row.state}{where}, and only an image at rest is cloned: rocks list host storagemap "
            f"{disk.nas}"
        )


def check_snapshots(vm: VirtualMachine, names: Sequence[str]) -> None:
    """StateError when the machine has snapshots: they are of all its disks."""
    if names:
        raise StateError(
            f"{vm.name} has the snapshot {names[0]}, which is of its present disks: remove it first: rocks remove host "
            f"vm snapshot {vm.name} {names[0]}",
            code=Code.DISK_HAS_SNAPSHOTS,
        )


def check_origin(disk: DiskLocation, volume: str, origin: str, image: str) -> None:
    """StateError when the machine's disk on a NAS is a clone of another machine's: the image is not what it was."""
    source = origin.partition("/")[2].partition("@")[0]
    if source and not is_base(source) and source != volume_of(image):
        raise StateError(
            f"the disk {disk.nas}:{volume} of {disk.vm} is a clone of {origin}, and would be made from the image "
            f"{image}, which is another content: image={image} does that, and rocks clone host vm makes such a clone "
            "again",
            code=Code.DISK_IS_CLONE,
        )


def check_clones(disk: DiskLocation, volume: str, clones: Sequence[str]) -> None:
    """StateError when other images are clones of the machine's disk on a NAS: image storage would not destroy it."""
    if clones:
        nas, name = disk.nas, clones[0].partition("/")[2]
        raise StateError(
            f"the disk {nas}:{volume} of {disk.vm} stays, since {first_few(clones, 1)} is a clone of it: remove the "
            f"machine of that first, or its image: {removal_command(nas, disk.zpool, name)} now=yes",
            code=Code.DISK_HAS_CLONES,
        )


def check_state(disk: DiskLocation, volume: str, state: str, reason: str) -> None:
    """StateError while image storage would not destroy the image, even when no host has it."""
    if state in _NOT_DESTROYED:
        raise StateError(
            f"the disk {disk.nas}:{volume} of {disk.vm} is {state}{f' ({reason})' if reason else ''}: rocks list host "
            f"storagemap {disk.nas}"
        )


def next_instance(machines: Iterable[VirtualMachine]) -> int:
    """A number that none of the machines has had as its instance."""
    numbers = (vm.host.attribute(INSTANCE_ATTRIBUTE) for vm in machines)
    return 1 + max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=0)


# Give virtual machines fresh disks: the old ones are removed, the next start makes new ones from the machines' images.
#
# A clone of another machine's disk is one more image, the volume of that machine, which is cloned at once: at the next
# start the other machine may be running, or have another content.
#
# Every check comes before the first change. A killed command can be repeated: a disk that is gone is no error. The
# number of the instance is recorded when the disk is gone, so that cloud-init never runs anew on an old disk.
#
# One failed check refuses all machines: one whose image is lost would be left without a disk. Writing over a
# disk in place was refused: a killed command would leave half of each. So was a snapshot of the first state of
# each machine: the space of all disks. The UUID stays, since the other disks bear it.


CLONE_WAIT_SECONDS = 300.0
"""How long a command waits until others have cloned the same disk: each has its machine locked for some seconds."""


class Request(NamedTuple):
    """The machines; `force`: also those that run, which are powered off, and whose images are unmapped.

    `image`: what the disks are made from, from now on; '': from the image that each machine has. `original`: the
    machine whose disk is cloned instead.
    """

    names: Sequence[str]
    force: bool
    image: str = ""
    original: str = ""

    def command_for(self, name: str) -> str:
        """The command that does this for one of the machines."""
        if self.original:
            return f"rocks clone host vm {self.original} {name}"
        return f"rocks reinstall host vm {name}" + (f" image={self.image}" if self.image else "")


class _Checked(NamedTuple):
    """What the checks have found; `mapped` are the machines whose image a host has, `held` those with a lease."""

    machines: Sequence[VirtualMachine]
    volumes: dict[str, DiskLocation]
    mapped: set[str]
    held: set[str]
    request: Request


def reinstall_vms(
    database: Database,
    request: Request,
    watcher: Watcher,
    notify: Callable[[str], None],
    progress: Progress | None,
    write_back_seconds: float,
) -> Outcomes:
    """Remove the first disks of the machines; returns the outcome of each. Commits.

    When a check fails for one of them, nothing is changed, and only errors are returned. UserError for an image with
    an invalid name. StateError when a name is not that of a virtual machine, or after a restore of the database a host
    has not reported what runs there. A machine whose changes are not written back in `write_back_seconds` keeps its
    disk. `notify` prints what such a report has added, and that nothing is removed.
    """
    ensure_epoch(database, notify)  # an older copy of the records does not have all that runs
    if request.image:
        check_source_name(request.image)
        lock_images(database, [request.image])  # it is recorded when the disks are gone
    failed: dict[str, RocksError] = {}
    checked = _check(database, request, failed)
    if failed:
        return _refused(request, failed, notify)
    database.commit()
    attributes = {IMAGE_ATTRIBUTE: request.image} if request.image else {}
    done = _replace(database, checked, attributes, failed, watcher, progress, write_back_seconds)
    ready = [vm for vm in checked.machines if vm.name in done]
    lines = {vm.name: _lines(vm, done[vm.name], checked.volumes.get(vm.name)) for vm in ready}
    return Outcomes(_with_power(lines, checked), failed)


def clone_vms(
    database: Database,
    original: str,
    request: Request,
    watcher: Watcher,
    notify: Callable[[str], None],
    progress: Progress | None,
    write_back_seconds: float,
) -> Outcomes:
    """Replace the first disks of the machines by clones of the original's, on its NAS; the outcome of each. Commits.

    Checks and errors as of `reinstall_vms`; StateError too when the original may run, or is not of the same cluster.
    """
    ensure_epoch(database, notify)
    ensure_locked(database, [original], wait_seconds=CLONE_WAIT_SECONDS)
    ensure_locked(database, request.names)
    vm, place = _original(database, original, request.names)
    volume = volume_name(place.vm, 0)
    failed: dict[str, RocksError] = {}
    checked = _check(database, request._replace(image=f"{VOLUME_PREFIX}{volume}", original=place.vm), failed)
    if failed:
        return _refused(request, failed, notify)
    database.commit()
    from rocks.storage.volumes.access import open_storage

    with open_storage(database) as storage:  # before a disk is removed
        origin = freeze_volumes(storage, [(vm, place)])[volume]
    attributes = {CLONE_ATTRIBUTE: volume}
    done = _replace(database, checked, attributes, failed, watcher, progress, write_back_seconds)
    ready = [vm for vm in checked.machines if vm.name in done]
    clones = [NewClone(volume_name(vm.name, 0), origin, vm.disks[0].size_bytes) for vm in ready]
    try:
        with open_storage(database) as storage:
            clone_volumes(storage, place.nas, place.zpool, clones, watcher.progress)
    except RocksError as error:
        text = (
            f"has no disk now, and its next start would make it from its image: {error}; repeat the command"
        )
        failed.update({vm.name: CLASSES[error.family](f"{vm.name} {text}", code=error.code) for vm in ready})
        ready = []
    lines = {vm.name: (f"{vm.name}: its disk is a clone of that of {place.vm}", *_others(vm)) for vm in ready}
    return Outcomes(_with_power(lines, checked), failed)


def _refused(request: Request, failed: dict[str, RocksError], notify: Callable[[str], None]) -> Outcomes:
    if len(request.names) > 1:
        notify(f"no disk of these {len(request.names)} machines was removed")
    return Outcomes(failed=failed)


def _with_power(lines: dict[str, tuple[str, ...]], checked: _Checked) -> dict[str, tuple[str, ...]]:
    """The lines, with that of a machine that was powered off before its own."""
    off = {name: (f"{name} is powered off", *lines[name]) for name in checked.held & lines.keys()}
    return {**lines, **off}


def _original(database: Database, original: str, names: Sequence[str]) -> tuple[VirtualMachine, DiskLocation]:
    """The machine whose disk is to be cloned, which is at rest, and the disk's place; all machines are locked.

    UserError or StateError when it cannot be cloned for one of the machines.
    """
    (vm,) = table.load_vms(database, [original])
    clusters = own_clusters(database, [vm.name, *names])
    places = {disk.vm: disk for disk in disk_locations(database, [vm.name, *names]) if disk.number == 0}
    place = places.get(vm.name)
    if place is None or not (place.nas and place.zpool):
        raise StateError(
            f"the disk of {vm.name} is on no NAS, and only NASes clone disks: rocks add image NAME vm={vm.name}, then "
            "rocks reinstall host vm with image=NAME"
        )
    for one in table.load_vms(database, names):
        if one.name == vm.name:
            raise UserError(f"{vm.name} cannot be a clone of itself: name other machines")
        if vm.name not in clusters or clusters.get(one.name) != clusters[vm.name]:
            raise StateError(
                f"{one.name} and {vm.name} are not machines of one virtual cluster, and a disk is cloned within its "
                "cluster only; rocks list cluster lists them; rocks clone cluster copies whole clusters"
            )
        if not one.host.attribute(IMAGE_ATTRIBUTE):
            raise StateError(
                f"{one.name} was not made from an image, so cloud-init would not give it its own name and addresses; "
                f"if the disk of {vm.name} has cloud-init: rocks set host attr {one.name} {IMAGE_ATTRIBUTE} NAME"
            )
        own = places.get(one.name)
        if own is None or (own.nas, own.zpool) != (place.nas, place.zpool):
            raise StateError(
                f"the disk of {one.name} is not in the pool of that of {vm.name}, {place.nas}:{place.zpool}, and "
                "clones are made in that pool only; rocks list host storagemap shows where disks are"
            )
    check_no_doubt(vm)
    check_at_rest(database, [place])
    return vm, place


def _check(database: Database, request: Request, failed: dict[str, RocksError]) -> _Checked:
    """Everything that can be known before the first change; `failed` receives the errors by machine."""
    names, force = request.names, request.force
    table.load_vms(database, names)
    failed.update(lock_vms(database, names))
    machines = table.load_vms(database, names)  # they stay as they are from here on
    if request.image:
        machines = [_with_image(vm, request.image) for vm in machines]
    held = leases.read_leases(database, names)
    locations = [disk for disk in disk_locations(database, names) if disk.nas]
    moves = read_moves(database) if locations else []
    volumes = {disk.vm: disk for disk in locations if disk.number == 0}
    sources: dict[str, Source | RocksError] = {}
    for vm in machines:
        try:
            check_no_doubt(vm)
            check_has_image(vm)
            check_is_off(vm, held.get(vm.name.lower()), force)
            check_source(vm, _source(database, vm, sources))
            check_erase([vm])
            check_not_moving([disk for disk in locations if disk.vm == vm.name], moves)
        except RocksError as error:
            failed.setdefault(vm.name, error)
    names_held = {vm.name for vm in machines if (one := held.get(vm.name.lower())) and one.is_held}
    good = [vm for vm in machines if vm.name not in failed]
    _check_snapshots(database, good, failed)
    mapped = _check_volumes(database, good, volumes, request, failed)
    return _Checked(machines, volumes, mapped, names_held, request)


def _with_image(vm: VirtualMachine, image: str) -> VirtualMachine:
    attributes = {**vm.host.attributes, IMAGE_ATTRIBUTE: image}
    return replace(vm, host=replace(vm.host, attributes=attributes))


def _source(database: Database, vm: VirtualMachine, known: dict[str, Source | RocksError]) -> Source:
    """The machine's image. UserError or StateError when the library does not have it."""
    name = vm.host.attribute(IMAGE_ATTRIBUTE)
    if name not in known:
        try:
            known[name] = find_source(database, name)
        except RocksError as error:
            known[name] = error
    found = known[name]
    if isinstance(found, RocksError):
        raise StateError(f"{vm.name} would get no disk: {found}", code=found.code)
    return found


def _check_snapshots(
    database: Database, machines: Sequence[VirtualMachine], failed: dict[str, RocksError]
) -> None:
    chosen = [vm for vm in machines if any(not (disk.is_mapped or disk.is_block) for disk in vm.disks)]
    if not chosen:
        return  # those on NASes are checked with the volumes
    found, silent = list_snapshots(database, [vm.name for vm in chosen])
    for vm in chosen:
        try:
            if vm.container is not None and vm.container.name in silent:
                raise HostError(f"{vm.name}: its host does not answer ({silent[vm.container.name]})")
            check_snapshots(vm, [one.name for one in found if one.vm == vm.name and not one.is_former])
        except RocksError as error:
            failed.setdefault(vm.name, error)


def _check_volumes(
    database: Database,
    machines: Sequence[VirtualMachine],
    volumes: dict[str, DiskLocation],
    request: Request,
    failed: dict[str, RocksError],
) -> set[str]:
    """The machines whose image a host has."""
    _wait_for_sources(database, machines, volumes, failed)
    chosen = [vm for vm in machines if vm.name in volumes and vm.name not in failed]
    if not chosen:
        return set()
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage

    known: dict[str, ImageRow] = {}
    removed = {volume_name(vm.name, 0) for vm in chosen}
    with open_storage(database) as storage:
        nases = sorted({volumes[vm.name].nas for vm in chosen})
        answers = storage.ask_each({nas: asking.images_of(nas) for nas in nases})
        for vm in chosen:
            rows = answers[volumes[vm.name].nas]
            if isinstance(rows, RocksError):
                failed[vm.name] = HostError(f"{vm.name}: {volumes[vm.name].nas} does not answer ({rows})")
                continue
            row = next((row for row in rows if row.zvol == volume_name(vm.name, 0)), None)
            if row is not None:
                known[vm.name] = row
            try:
                check_source_volume(vm, volumes[vm.name], rows, removed)
            except RocksError as error:
                failed[vm.name] = error
        _check_sizes(storage, [vm for vm in chosen if vm.name not in failed], volumes, failed)
        origins = storage.ask_each(
            {name: asking.snapshots_of(volumes[name].nas, row.zvol) for name, row in known.items()}
        )
    for vm in chosen:
        if vm.name in known and vm.name not in failed:
            try:
                _check_volume(vm, volumes[vm.name], known[vm.name], origins[vm.name], request)
            except RocksError as error:
                failed[vm.name] = error
    return {name for name, row in known.items() if row.remotehost is not None}


def _wait_for_sources(
    database: Database,
    machines: Sequence[VirtualMachine],
    volumes: dict[str, DiskLocation],
    failed: dict[str, RocksError],
) -> None:
    """Until no command destroys the volumes that disks are to be clones of; each is waited for once."""
    waiting: dict[tuple[str, str], list[str]] = {}
    for vm in machines:
        source = volume_of(vm.host.attribute(IMAGE_ATTRIBUTE))
        if source and vm.name in volumes:
            waiting.setdefault((volumes[vm.name].nas, source), []).append(vm.name)
    for volume, names in waiting.items():
        try:
            wait_for_removals(database, [volume])
        except BusyError as error:
            failed.update({name: BusyError(f"{name}: {error}") for name in names})


def _check_sizes(
    storage: StorageClient,
    machines: Sequence[VirtualMachine],
    volumes: dict[str, DiskLocation],
    failed: dict[str, RocksError],
) -> None:
    """Of the volumes that disks are to be clones of: their NAS would make none that is larger than its disk."""
    from rocks.storage.client import asking

    asked: dict[str, Query[SnapshotsOfImage]] = {}
    of_machine: dict[str, str] = {}
    for vm in machines:
        nas, volume = volumes[vm.name].nas, volume_of(vm.host.attribute(IMAGE_ATTRIBUTE))
        if volume:
            of_machine[vm.name] = f"{nas}:{volume}"
            asked[of_machine[vm.name]] = asking.snapshots_of(nas, volume)
    answers = storage.ask_each(asked) if asked else {}
    for vm in machines:
        answer = answers.get(of_machine.get(vm.name, ""))
        try:
            if isinstance(answer, RocksError):
                raise answer
            if answer is not None:
                check_disk_size(vm.name, vm.disks[0], vm.host.attribute(IMAGE_ATTRIBUTE), answer.size_bytes)
        except RocksError as error:
            failed[vm.name] = error


def _check_volume(
    vm: VirtualMachine,
    disk: DiskLocation,
    row: ImageRow,
    snapshots: SnapshotsOfImage | RocksError,
    request: Request,
) -> None:
    if isinstance(snapshots, RocksError):
        raise snapshots
    check_owner(vm, disk, row.zvol, row.machine)
    if not request.image:
        check_origin(disk, row.zvol, snapshots.origin, vm.host.attribute(IMAGE_ATTRIBUTE))
    check_clones(disk, row.zvol, snapshots.clones)
    check_snapshots(vm, snapshots.held)
    check_state(disk, row.zvol, row.state, row.reason)
    if row.remotehost is not None and not request.force:
        raise StateError(
            f"the image {disk.nas}:{row.zvol} of {vm.name} is mapped to {row.remotehost}: have its changes written "
            f"back (rocks stop host vm {vm.name} terminate=yes), or add force=yes"
        )


def _unmap(
    database: Database, checked: _Checked, stopped_not: set[str], watcher: Watcher, seconds: float
) -> dict[str, RocksError]:
    """Unmap the images that hosts have, whose machines are off; the errors by machine."""
    names = [vm.name for vm in checked.machines if vm.name in checked.mapped - stopped_not]
    if not names:
        return {}
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import is_not_mapped

    requests = {name: asking.unmap_image(checked.volumes[name].nas, volume_name(name, 0)) for name in names}
    with open_storage(database) as storage:
        answers = storage.wait_each(requests, seconds, watcher)
    return {
        name: _not_unmapped(checked.request.command_for(name), name, checked.volumes[name], answer)
        for name, answer in answers.items()
        if isinstance(answer, RocksError) and not is_not_mapped(answer)
    }


def _not_unmapped(command: str, name: str, disk: DiskLocation, error: RocksError) -> RocksError:
    """Why the machine keeps its disk; image storage goes on with what takes longer than it was waited for."""
    from rocks.storage.bus import NoAnswerError

    if not isinstance(error, NoAnswerError):
        return error
    return BusyError(
        f"{name} keeps its disk for now: its changes are not written back yet ({error}). When rocks list host "
        f"storagemap {disk.nas} shows it unmapped, repeat: {command}; timeout=SECONDS waits longer"
    )


def _replace(
    database: Database,
    checked: _Checked,
    attributes: Mapping[str, str],
    failed: dict[str, RocksError],
    watcher: Watcher,
    progress: Progress | None,
    write_back_seconds: float,
) -> dict[str, bool]:
    """As `_remove`, of machines that may run or have their images on hosts."""
    if checked.held:
        running = [vm for vm in checked.machines if vm.name in checked.held]
        failed.update(stop_machines(database, running, progress=progress).failed)
    failed.update(_unmap(database, checked, set(failed), watcher, write_back_seconds))
    return _remove(database, checked, attributes, failed)


def _remove(
    database: Database, checked: _Checked, attributes: Mapping[str, str], failed: dict[str, RocksError]
) -> dict[str, bool]:
    """Machine → whether it had a disk, which is removed; `failed` receives errors. `attributes`: as of `_record`."""
    done: dict[str, bool] = {}
    machines = [vm for vm in checked.machines if vm.name not in failed]
    on_nas = [checked.volumes[vm.name] for vm in machines if vm.name in checked.volumes]
    if dry_run.is_on():  # an image that a dry run has not unmapped is still mapped
        for disk in [disk for disk in on_nas if disk.vm in checked.mapped]:
            dry_run.would(disk.nas, f"destroy the image {volume_name(disk.vm, disk.number)}")
            done[disk.vm] = True
        on_nas = [disk for disk in on_nas if disk.vm not in done]
    for disk, outcome in destroy_volumes(database, machines, on_nas).items():
        if isinstance(outcome, DestroyingError) and checked.request.original:
            failed[disk.vm] = BusyError(  # its name is not free for the clone
                f"{disk.vm}: its former disk is still being destroyed ({outcome}); when that has ended, repeat: "
                f"{checked.request.command_for(disk.vm)}"
            )
        elif isinstance(outcome, DestroyingError):
            done[disk.vm] = True  # it was accepted: the disk does not come back
        elif isinstance(outcome, UnknownEndError):
            failed[disk.vm] = HostError(
                f"whether {disk.vm} keeps its disk {disk.nas}:{disk.zpool}/{volume_name(disk.vm, 0)} is not known: "
                f"{outcome}. When the NAS answers, repeat: {checked.request.command_for(disk.vm)}"
            )
        elif isinstance(outcome, RocksError):
            failed[disk.vm] = StateError(
                f"{disk.vm} keeps its disk {disk.nas}:{disk.zpool}/{volume_name(disk.vm, 0)}: {outcome}"
            )
        else:
            done[disk.vm] = outcome
    number = str(next_instance(checked.machines))
    _record(database, list(done), number, attributes)
    for vm in machines:
        if vm.name not in checked.volumes:
            try:
                done[vm.name] = remove_disk(database, vm, vm.disks[0])
            except RocksError as error:
                failed[vm.name] = error
            else:
                _record(database, [vm.name], number, attributes)
    return done


def _record(database: Database, names: Sequence[str], number: str, attributes: Mapping[str, str]) -> None:
    """The disks of these machines are gone; commits, so that a command that is killed later does not lose that.

    `attributes`: what their next disks are made from, where it is recorded anew.
    """
    if names:
        if attributes:
            delete_attributes(database, "host", names, [CLONE_ATTRIBUTE])
        for name, value in {INSTANCE_ATTRIBUTE: number, **attributes}.items():
            replace_attribute(database, "host", names, name, value)
        database.commit()


def _unlisted(name: str, disk: DiskLocation, image: str) -> str:
    """What is known of a disk that its NAS does not list: a reinstalled NAS may have the volume all the same."""
    volume = volume_name(disk.vm, disk.number)
    return (
        f"{name}: {disk.nas} does not list an image {disk.zpool}/{volume}, so nothing is removed; its next start makes "
        f"that from the image {image}, or uses the volume if the pool has it all the same: to remove that first: "
        f"{removal_command(disk.nas, disk.zpool, volume)} now=yes"
    )


def _lines(vm: VirtualMachine, had_disk: bool, volume: DiskLocation | None) -> tuple[str, ...]:
    first = vm.disks[0]
    image = vm.host.attribute(IMAGE_ATTRIBUTE)
    if not had_disk and volume is not None and volume.zpool:
        line = _unlisted(vm.name, volume, image)
    else:
        now = f": its disk {first.device} is removed" if had_disk else f" has no disk {first.device}"
        line = f"{vm.name}{now}; its next start makes it from the image {image}"
    return (line, *_others(vm))


def _others(vm: VirtualMachine) -> tuple[str, ...]:
    """A line about the disks that stay."""
    others = vm.disks[1:]
    names = ", ".join(disk.device for disk in others)
    return (f"{vm.name}: {names} {'stays' if len(others) == 1 else 'stay'} as before",) if others else ()
