"""Snapshots of machines with disks on NASes: held snapshots of the volumes, all of one moment; and the way back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import CLASSES, Code, HostError, RocksError, StateError
from rocks.fleet.wire.facts import is_active
from rocks.fleet.wire.requests import FreezeGuest, ThawGuest
from rocks.fleet.wire.snapshot_names import FROZEN, MACHINE_OFF
from rocks.inventory.host_requests import error_of, open_fleet
from rocks.leases.machine_requests import contact_hosts, perform_one
from rocks.leases.plan import SAVED
from rocks.machine.converge import check_place
from rocks.machine.live_move import Watching, pull_each
from rocks.machine.record import update_vm
from rocks.machine.spec import container_of
from rocks.machine.start import settle_start
from rocks.storage.bus import NoAnswerError
from rocks.storage.client import asking
from rocks.storage.image.names import is_former
from rocks.storage.image.states import BLOCKED, LOCAL, PULLING, REMOTE, RETURNING, UNMAPPED
from rocks.storage.limits import MAP_SECONDS
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import plan_images, volume_name
from rocks.storage.wire.names import moment_tag, new_run, part_tag, read_tag, unfinished_tag
from rocks.storage.wire.requests import HoldSnapshot, ListSnapshots, ReleaseSnapshot, RestoreZvol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.snapshot_names import Moment
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.storage.client import StorageClient
    from rocks.storage.volumes.places import DiskLocation, ImageSpec
    from rocks.storage.wire.replies import ImageRow, SnapshotRow


# The snapshots of machines that NASes hold, in parts: a snapshot of a volume for each disk.
#
# A restore leaves the former content of a disk beside it (`VOLUME-before-NUMBER`), with the snapshots that were made
# after the restored one. They are listed as former ones.

_LIST_SECONDS = 60.0


class Part(NamedTuple):
    """A snapshot of one disk; number 0 while it has none, `moment` empty for a machine that ran and was not frozen.

    `volume` is POOL/VOLUME, the image of the disk or a former content of it.
    """

    disk: DiskLocation
    volume: str
    row: SnapshotRow
    number: int
    total: int
    moment: str
    is_unfinished: bool
    run: str


Parts = dict[tuple[str, str], list[Part]]
"""Machine and name of the snapshot → the parts, in the order of the disks."""


class Found(NamedTuple):
    """The snapshots of machines on their NASes; those of former contents, by machine, name and run; errors by NAS."""

    parts: Parts
    former: dict[tuple[str, str, str], list[Part]]
    errors: dict[str, RocksError]


def read_parts(database: Database, machines: Sequence[VirtualMachine]) -> Found:
    """The snapshots of the machines on their NASes. The image of another machine has none.

    A former content, which a restore has left, is a clone of the restored snapshot.
    """
    uuids = {vm.name: vm.uuid for vm in machines}
    disks = [disk for disk in disk_locations(database, list(uuids)) if disk.nas and disk.zpool]
    found = Found({}, {}, {})
    volumes = {(disk.nas, f"{disk.zpool}/{volume_name(disk.vm, disk.number)}"): disk for disk in disks}
    asked: set[tuple[str, str]] = set()
    try:
        with contextlib.ExitStack() as opened:
            storage = opened.enter_context(open_storage(database)) if disks else None
            while storage is not None and (left := {key: volumes[key] for key in volumes.keys() - asked}):
                asked |= left.keys()
                volumes |= _read(storage, left, uuids, found)
    except RocksError as error:
        return Found({}, {}, {disk.nas: error for disk in disks})
    for parts in (*found.parts.values(), *found.former.values()):
        parts.sort(key=lambda part: part.number)
    return found


def _read(
    storage: StorageClient,
    volumes: Mapping[tuple[str, str], DiskLocation],
    uuids: Mapping[str, str],
    found: Found,
) -> dict[tuple[str, str], DiskLocation]:
    """Add what the NASes have of these volumes to `found`; the volumes with the contents that were before theirs."""
    queries_of = {
        f"{nas}:{volume}": asking.new_query(nas, ListSnapshots(*reversed(volume.split("/", 1))))
        for nas, volume in volumes
    }
    answers = storage.ask_each(queries_of, _LIST_SECONDS)
    former = {}
    for (nas, volume), disk in volumes.items():
        answer = answers[f"{nas}:{volume}"]
        if isinstance(answer, RocksError):
            if answer.code is not Code.IMAGE_UNKNOWN:  # one that was never started has no image
                found.errors[nas] = answer
        elif answer.machine in ("", uuids[disk.vm]):
            present = f"{disk.zpool}/{volume_name(disk.vm, disk.number)}"
            for name, part in _parts(disk, volume, answer.rows):
                if volume == present:
                    found.parts.setdefault((disk.vm, name), []).append(part)
                else:
                    found.former.setdefault((disk.vm, name, part.run), []).append(part)
            clones = [clone for row in answer.rows for clone in row.clones if is_former(present, clone)]
            former.update({(nas, clone): disk for clone in clones})
    return former


def _parts(disk: DiskLocation, volume: str, rows: Sequence[SnapshotRow]) -> Iterator[tuple[str, Part]]:
    for row in rows:
        tags = [tag for hold in row.tags if (tag := read_tag(hold)) is not None]
        for name in dict.fromkeys(tag.snapshot for tag in tags):
            own = [tag for tag in tags if tag.snapshot == name]
            number, total, run = max((tag.number, tag.total, tag.run) for tag in own)
            moment = next((tag.word for tag in own if tag.word and not tag.is_unfinished), "")
            is_unfinished = any(tag.is_unfinished for tag in own)
            yield name, Part(disk, volume, row, number, total, moment, is_unfinished, run)


def is_complete(parts: Sequence[Part]) -> bool:
    """Whether the snapshot has all disks, each once, and all of one run."""
    numbers = [part.number for part in parts]
    is_of_one_run = len({(part.run, part.total) for part in parts}) == 1
    return is_of_one_run and numbers == list(range(1, parts[0].total + 1))


# Make, restore and remove such a snapshot.
#
# The holds are the record (`rocks.storage.wire.names`). Of a machine that runs, its NASes first take the
# changes so far; then its file systems are frozen until they have the rest, some seconds.

_GATHERED_SECONDS = 300.0
_FROZEN_SECONDS = 60.0
"""How long the NASes may take for the rest of the changes: a longer freeze than 90 seconds is ended by the host."""

_AT_REST, _COPIED = (UNMAPPED,), (LOCAL, PULLING)


class _Marked(NamedTuple):
    """The guids of the disks' snapshots that are to be one of the machine, of its moment; and notes."""

    guids: list[str]
    moment: Moment | None
    notes: tuple[str, ...] = ()


def images_of_machine(database: Database, vm: VirtualMachine) -> list[ImageSpec]:
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

    `left` are the parts of a snapshot of this name that is not complete. StateError when they are not what an
    interrupted command has left, for a machine that does not run under its lease, for images that are being copied or
    written back, and when the disks would be of different moments; HostError when the machine's host does not answer;
    BusyError or another error of a NAS when it does not take the changes.
    """
    if lease is not None:
        _check_runs(database, vm, lease)
    token = None if lease is None else lease.token
    # an interrupted command has left a disk without a number; a mark alone may be on parts of a complete snapshot
    if left and (any(not part.is_unfinished for part in left) or all(part.number for part in left)):
        raise StateError(
            f"{vm.name} has a snapshot {snapshot} that is not one of its present disks: rocks remove host vm snapshot "
            f"{vm.name} {snapshot} removes it"
        )
    with open_storage(database) as storage:
        _check_states(storage, images, _AT_REST if token is None else _COPIED)
        if left:
            _release(storage, vm, snapshot, left)
        try:
            marked = (
                _Marked(_mark(storage, images, snapshot, is_mapped=False), MACHINE_OFF)
                if token is None
                else _mark_running(database, storage, vm, images, token, snapshot)
            )
        except BaseException:
            with contextlib.suppress(RocksError):  # the first error is the one to report
                _release_images(storage, images, snapshot)
            raise
        _complete(storage, images, snapshot, marked)
    return () if dry_run.is_on() else marked.notes


def _check_runs(database: Database, vm: VirtualMachine, lease: Lease) -> None:
    """StateError when its images are mapped, and no guest uses them. The host is asked: the NASes do not know it."""
    host = container_of(vm).name
    with open_fleet(database, [host]) as fleet:
        answer = contact_hosts(database, fleet, [host])[host]
    if isinstance(answer, RocksError):
        raise HostError(f"{vm.name}: its host {host} does not answer ({answer})")
    runs = is_active(answer, vm.name)
    if runs:
        check_place(vm, settle_start(database, vm, lease, answer))
    if lease.state == SAVED:
        raise StateError(
            f"{vm.name} is saved on {lease.host}, with its disks mapped there: continue it (rocks restore host vm "
            f"{vm.name}), then repeat the command"
        )
    if not runs:
        raise StateError(
            f"{vm.name} is recorded as running, and does not run: rocks stop host vm {vm.name}, then repeat the command"
        )


def _check_states(storage: StorageClient, images: Sequence[ImageSpec], states: Sequence[str]) -> None:
    """StateError unless all images are in one of the states; the error of a NAS. One without a record has no state."""
    answers = storage.ask_each({nas: asking.images_of(nas) for nas in sorted({one.nas for one in images})})
    for image in images:
        rows = answers[image.nas]
        if isinstance(rows, RocksError):
            raise rows
        row: ImageRow | None = next((row for row in rows if row.zvol == image.volume), None)
        if row is None or row.state in states:
            continue
        where = row.state if row.remotehost is None else f"{row.state} on {row.remotehost}"
        if row.state == BLOCKED:
            what = f"{row.reason}; rocks list host storagemap {image.nas}"
        elif row.state == REMOTE:
            what = "its host gets no copy of it (img_sync), so the machine must be off"
        elif states == _AT_REST and row.state in (RETURNING, *_COPIED):
            what = f"rocks stop host vm {image.vm} terminate=yes waits until it is written back"
        else:
            what = f"rocks list host storageop {image.nas} shows what goes on"
        must = "and must be unmapped" if states == _AT_REST else "and must be local"
        raise StateError(f"{image.nas}:{image.volume} of {image.vm} is {where}, {must}: {what}")


def _are_at_rest(storage: StorageClient, images: Sequence[ImageSpec]) -> bool:
    """Whether no image is being restored, or blocked on the way."""
    try:
        _check_states(storage, images, _AT_REST)
    except RocksError:
        return False
    return True


def _mark_running(
    database: Database,
    storage: StorageClient,
    vm: VirtualMachine,
    images: Sequence[ImageSpec],
    token: int,
    snapshot: str,
) -> _Marked:
    """Mark a snapshot of each disk of a machine that runs."""
    name, host = vm.name, container_of(vm).name
    why = f"{name} gets no snapshot, since its changes are not written back"
    pull_each(storage, images, why, Watching(None), _GATHERED_SECONDS)
    is_thawed = False
    try:
        problem = error_of(perform_one(database, host, FreezeGuest(name, token)))
        is_thawed = isinstance(problem, StateError)
        if problem is not None and len(images) > 1:
            raise StateError(
                f"{name} gets no snapshot: its disks would be of different moments, since its file systems are not "
                f"frozen ({problem}); stop it first, or have its guest agent run"
            )
        if problem is None:
            pull_each(storage, images, why, Watching(None), _FROZEN_SECONDS)
        guids = _mark(storage, images, snapshot, is_mapped=True)
    finally:
        ended = None if is_thawed else error_of(perform_one(database, host, ThawGuest(name, token)))
    if problem is not None:
        note = f"the file systems of {name} were not frozen, so it is as after a power cut: {problem}"
        return _Marked(guids, None, (note,))
    if ended is not None and len(images) > 1:
        raise StateError(f"{name} gets no snapshot: its disks may be of different moments: {ended}")
    if ended is not None:
        return _Marked(
            guids, None, (f"the file systems of {name} may not have been frozen all the time: {ended}",)
        )
    return _Marked(guids, FROZEN, (f"the file systems of {name} were frozen at that moment",))


def _mark(
    storage: StorageClient, images: Sequence[ImageSpec], snapshot: str, *, is_mapped: bool
) -> list[str]:
    """Hold a snapshot of each, which is not one of the machine yet; their guids."""
    tags = [(unfinished_tag(snapshot),)] * len(images)
    return _hold_each(storage, images, tags, is_mapped=is_mapped)


def _complete(storage: StorageClient, images: Sequence[ImageSpec], snapshot: str, marked: _Marked) -> None:
    """Have them be one of the machine, from the last request on."""
    moment = () if marked.moment is None else (moment_tag(snapshot, marked.moment),)
    run, total = new_run(), len(images)
    tags = [(*moment, part_tag(snapshot, run, number, total)) for number in range(1, total + 1)]
    _hold_each(storage, images, tags, guids=marked.guids)
    _release_images(storage, images, snapshot)


def _hold_each(
    storage: StorageClient,
    images: Sequence[ImageSpec],
    tags: Sequence[tuple[str, ...]],
    *,
    is_mapped: bool = False,
    guids: Sequence[str] = (),
) -> list[str]:
    """Hold a snapshot of each image with its tags, all at once; their guids. Raises the first error."""
    asked = {}
    for number, image in enumerate(images):
        guid = guids[number] if guids else ""
        request = HoldSnapshot(image.volume, image.zpool, tags[number], is_mapped, guid, image.machine)
        asked[image.volume] = asking.new_query(image.nas, request)
    answers = storage.ask_each(asked, _FROZEN_SECONDS)
    held = []
    for image in images:
        answer = answers[image.volume]
        if isinstance(answer, RocksError):
            if answer.code is not Code.IMAGE_UNKNOWN:
                raise answer
            raise StateError(
                f"{image.nas} has no image {image.volume}: {image.vm} was never started", code=answer.code
            )
        held.append(answer.guid)
    return held


def _release_images(storage: StorageClient, images: Sequence[ImageSpec], snapshot: str) -> None:
    """Release what marks a snapshot that is being made, of each disk. Raises the first error of a NAS."""
    asked = {
        image.volume: asking.new_query(
            image.nas, ReleaseSnapshot(image.volume, image.zpool, snapshot, True, image.machine)
        )
        for image in images
    }
    _raise_first(storage, asked)


def restore(
    database: Database,
    vm: VirtualMachine,
    images: Sequence[ImageSpec],
    snapshot: str,
    parts: Sequence[Part],
    later: Sequence[str],
) -> tuple[str, ...]:
    """Make the snapshot the content of the disks of a machine that is off; returns notes. Commits.

    What they have now stays on the NAS under other names, and so do the `later` snapshots, which are of that.
    StateError unless all images are unmapped; the first error of a NAS. The restoration is recorded before the first
    disk and until the last is restored, and nothing starts the machine meanwhile; the same call completes it.
    """
    asked = {
        str(part.number): asking.new_query(
            part.disk.nas,
            RestoreZvol(volume_name(vm.name, part.disk.number), part.row.name, vm.uuid, part.disk.zpool),
        )
        for part in parts
    }
    with open_storage(database) as storage:
        _check_states(storage, images, _AT_REST)
        _record(database, vm, snapshot)
        answers = storage.wait_each(asked, MAP_SECONDS)
        failed = [error for error in answers.values() if isinstance(error, RocksError)]
        is_certain = not any(isinstance(error, NoAnswerError) for error in failed)
        is_unchanged = is_certain and len(failed) == len(parts) and _are_at_rest(storage, images)
        former: list[str] = []
        if not failed:
            _record(database, vm, None)  # before the queries, during which the command may be ended
            former = [] if dry_run.is_on() else [_former_content(storage, part) for part in parts]
    if failed:
        what = "is not restored"
        if is_unchanged:
            _record(database, vm, vm.restoring)  # what an earlier restore has left
        elif is_certain:
            what = "is restored in part: repeat the command, before which it does not start"
        else:
            what = "is perhaps not restored, or in part: repeat the command, before which it does not start"
        raise CLASSES[failed[0].family](f"{vm.name} {what}: {failed[0]}", code=failed[0].code)
    if dry_run.is_on():
        return ()
    with_it = f", with the later snapshots {', '.join(later)}" if later else ""
    return (f"the former content of {vm.name} stays as {', '.join(former)}{with_it}",)


def _former_content(storage: StorageClient, part: Part) -> str:
    """NAS, pool and volume of what the disk had until now; without its number when the NAS does not say it."""
    clones: tuple[str, ...] = ()
    with contextlib.suppress(RocksError):  # the restore itself has succeeded
        clones = storage.ask(asking.snapshots_of(part.disk.nas, part.volume.partition("/")[2])).clones
    numbers = [int(clone.rpartition("-")[2]) for clone in clones if is_former(part.volume, clone)]
    return f"{part.disk.nas}:{part.volume}-before-{max(numbers, default='NUMBER')}"


def end_restoration(database: Database, vm: VirtualMachine, snapshot: str) -> tuple[str, ...]:
    """The disks count as they are, when a restore to this snapshot was interrupted; notes. Commits."""
    if vm.restoring != snapshot:
        return ()
    _record(database, vm, None)
    return (
        f"{vm.name} starts with its disks as they are: some may be those of {snapshot}, others those of before",
    )


def _record(database: Database, vm: VirtualMachine, snapshot: str | None) -> None:
    """Record the snapshot to which the disks are being restored, or that they are. Commits."""
    if not dry_run.is_on():
        update_vm(database, vm.name, {"Restoring": snapshot})
        database.commit()


def remove(database: Database, vm: VirtualMachine, parts: Sequence[Part], snapshot: str) -> None:
    """Release the snapshots of the disks. Raises the first error of a NAS."""
    with open_storage(database) as storage:
        _release(storage, vm, snapshot, parts)


def _release(storage: StorageClient, vm: VirtualMachine, snapshot: str, parts: Sequence[Part]) -> None:
    disks = {volume_name(vm.name, part.disk.number): part.disk for part in parts}
    asked = {
        volume: asking.new_query(disk.nas, ReleaseSnapshot(volume, disk.zpool, snapshot, machine=vm.uuid))
        for volume, disk in disks.items()
    }
    _raise_first(storage, asked)


def _raise_first(storage: StorageClient, asked: dict[str, asking.Query[None]]) -> None:
    for answer in storage.ask_each(asked).values():
        if isinstance(answer, RocksError):
            raise answer
