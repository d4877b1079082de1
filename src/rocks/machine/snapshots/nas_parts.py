"""The snapshots of machines that NASes hold, in parts: a snapshot of a volume for each disk.

A restore leaves the former content of a disk beside it (`VOLUME-before-NUMBER`), with the snapshots that were made
after the restored one. They are listed as former ones.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import Code, RocksError
from rocks.storage.client import asking
from rocks.storage.image.names import is_former
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import volume_name
from rocks.storage.wire.names import read_tag
from rocks.storage.wire.requests import ListSnapshots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.client import StorageClient
    from rocks.storage.volumes.places import DiskLocation
    from rocks.storage.wire.replies import SnapshotRow

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
    questions_of = {
        f"{nas}:{volume}": asking.question(nas, ListSnapshots(*reversed(volume.split("/", 1))))
        for nas, volume in volumes
    }
    answers = storage.ask_each(questions_of, _LIST_SECONDS)
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
