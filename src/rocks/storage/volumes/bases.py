"""Disks on NASes made as clones of images of the library, which a pool stores once as bases, or of its volumes."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.values import BYTES_PER_GIB, size_text
from rocks.library.guest_images import (
    CLONE_ATTRIBUTE,
    IMAGE_ATTRIBUTE,
    Source,
    check_disk_size,
    check_image_name,
    check_seed_place,
    volume_of,
)
from rocks.library.imports import find_leftovers
from rocks.library.library_folder import find_source, library_folder
from rocks.library.records import find_image, image_file, read_images
from rocks.storage.client import asking
from rocks.storage.client.importing import Destination, send_base
from rocks.storage.client.listing import transfer_line
from rocks.storage.limits import MAP_SECONDS
from rocks.storage.volumes.access import open_transfer
from rocks.storage.volumes.nodes import storage_nodes
from rocks.storage.volumes.places import removal_command
from rocks.storage.wire import requests as wire
from rocks.storage.wire.names import NAS, base_snapshot, base_volume
from rocks.storage.wire.requests import ListBases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.storage.client import StorageClient, Watcher
    from rocks.storage.volumes.places import ImageSpec
    from rocks.storage.wire.replies import BaseRow, MadeClones


TRANSFER_SECONDS = 24 * 3600.0
"""How long a start waits for another command that sends an image to the same pool."""


class MadeDisks(NamedTuple):
    """Lines for the operator, and errors by machine."""

    notes: list[str]
    failed: dict[str, RocksError]


class _Request(NamedTuple):
    """A disk to be made unless it exists, and its image; or why it could not be made."""

    disk: ImageSpec
    source: Source | RocksError
    origin: str = ""
    """VOLUME@SNAPSHOT; '': the disk is only looked for."""

    copied: str = ""
    """The volume of which it is a copy, where a cluster was cloned."""


def create_disks(
    database: Database,
    storage: StorageClient,
    machines: Sequence[VirtualMachine],
    disks: Sequence[ImageSpec],
    watcher: Watcher,
) -> MadeDisks:
    """Make the first disks of the machines with an image that their NASes lack; a disk that exists stays as it is.

    `disks` are all disks on NASes. The caller has committed. One command at a time sends an image to a pool that lacks
    it.
    """
    result = MadeDisks([], {})
    with_image = {vm.name: vm for vm in machines if vm.host.attribute(IMAGE_ATTRIBUTE)}
    requested: defaultdict[tuple[str, str], list[_Request]] = defaultdict(list)
    for disk in disks:
        if disk.number == 0 and disk.vm in with_image:
            try:
                check_seed_place(with_image[disk.vm])
            except RocksError as error:
                result.failed[disk.vm] = error
                continue
            source = _source(database, with_image[disk.vm], disk)
            origin = base_snapshot(source.digest) if isinstance(source, Source) and source.digest else ""
            copied = with_image[disk.vm].host.attribute(CLONE_ATTRIBUTE)
            requested[disk.nas, disk.zpool].append(_Request(disk, source, origin, copied))
    database.end_reading()
    for place, of_pool in requested.items():
        try:
            _make(database, storage, place, of_pool, watcher, result)
        except RocksError as error:
            for one in of_pool:
                result.failed.setdefault(one.disk.vm, error)
    return result


def _source(database: Database, vm: VirtualMachine, disk: ImageSpec) -> Source | RocksError:
    try:
        source = find_source(database, vm.host.attribute(IMAGE_ATTRIBUTE))
        check_disk_size(vm.name, vm.disks[disk.number], source.name, source.size_bytes)
    except RocksError as error:
        return error
    return source


def _make(
    database: Database,
    storage: StorageClient,
    place: tuple[str, str],
    requested: Sequence[_Request],
    watcher: Watcher,
    result: MadeDisks,
) -> None:
    """The disks of one pool."""
    nas, zpool = place
    made = _clone(storage, place, requested, result)
    absent = _with_origins(
        storage, place, [one for one in requested if one.disk.volume in made.missing], result
    )
    sources: dict[str, Source] = {}
    for one in absent:
        if isinstance(one.source, RocksError):
            text = f"{one.disk.vm} is not started: its disk has to be made: {one.source}"
            result.failed[one.disk.vm] = StateError(text)
        elif one.source.digest:
            sources[one.source.digest] = one.source
    for source in sources.values():
        try:
            if _store(database, storage, place, source, watcher):
                result.notes.append(
                    f"the image {source.name}, {size_text(source.used_bytes)}, is stored on {nas}:{zpool}"
                )
        except RocksError as error:
            for one in absent:
                if one.source == source:
                    result.failed[one.disk.vm] = type(error)(
                        f"{one.disk.vm} is not started: {error}", code=error.code
                    )
    again = [one for one in absent if one.disk.vm not in result.failed]
    if again:
        for volume in _clone(storage, place, again, result).missing:
            vm = next(one.disk.vm for one in again if one.disk.volume == volume)
            result.failed[vm] = HostError(
                f"{vm} is not started: {nas} has lost the base of its image meanwhile; repeat the command"
            )


def _with_origins(
    storage: StorageClient, place: tuple[str, str], requested: Sequence[_Request], result: MadeDisks
) -> list[_Request]:
    """Requests. A volume of the NAS gets a snapshot of its present content; one that is in use fails its machines."""
    nas, zpool = place
    origins: dict[str, str | RocksError] = {}
    found = []
    for one in requested:
        volume = "" if isinstance(one.source, RocksError) else volume_of(one.source.name)
        if volume and volume not in origins:
            try:
                snapshots = storage.ask(
                    asking.new_query(nas, wire.FreezeZvols(zpool, (volume,))), MAP_SECONDS
                )
                origins[volume] = f"{volume}@{snapshots[volume]}"
            except RocksError as error:
                origins[volume] = error
        origin = origins.get(volume, one.origin)
        if isinstance(origin, RocksError):
            result.failed[one.disk.vm] = StateError(f"{one.disk.vm} is not started: {origin}")
        else:
            found.append(one._replace(origin=origin))
    return found


def _clone(
    storage: StorageClient, place: tuple[str, str], requested: Sequence[_Request], result: MadeDisks
) -> MadeClones:
    """Ask for the disks. What is refused fails its machine only."""
    nas, zpool = place
    made = _asked(storage, place, requested)
    refused = {one.zvol: one.reason for one in made.refused}
    for one in requested:
        if one.disk.volume in refused:
            result.failed[one.disk.vm] = StateError(
                f"{one.disk.vm} is not started: {refused[one.disk.volume]}"
            )
    return made


def _asked(storage: StorageClient, place: tuple[str, str], requested: Sequence[_Request]) -> MadeClones:
    nas, zpool = place
    clones = tuple(
        wire.NewClone(one.disk.volume, one.origin, one.disk.size_gib * BYTES_PER_GIB if one.origin else 0)
        for one in requested
    )
    sources = tuple(
        one.copied or ("" if isinstance(one.source, RocksError) else volume_of(one.source.name))
        for one in requested
    )
    return storage.ask(asking.new_query(nas, wire.CloneZvols(zpool, clones, sources=sources)), MAP_SECONDS)


def _store(
    database: Database, storage: StorageClient, place: tuple[str, str], source: Source, watcher: Watcher
) -> bool:
    """Have the base of the image in the pool; whether it was sent."""
    nas, zpool = place
    # of the pool: two images at once would both count its free space
    with database.locked(f"base {nas} {zpool}", TRANSFER_SECONDS):
        request = wire.AddBase(zpool, source.digest, source.size_bytes, source.used_bytes, source.name)
        made = storage.ask(asking.new_query(nas, request), MAP_SECONDS)
        if made.complete:
            return False
        volume = f"{zpool}/{base_volume(source.digest)}"
        address, port, context = open_transfer(database, nas)
        path = image_file(library_folder(database), source.name)
        database.end_reading()
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(
                f"the image {path} cannot be read: {error.strerror}; see rocks check image"
            ) from None
        try:
            send_base(
                descriptor,
                Destination(nas, address, port, volume, made.guid, made.size_bytes),
                context,
                lambda progress: watcher.progress(transfer_line(source.name, progress)),
                source.used_bytes,
            )
        except OSError as error:
            raise HostError(f"the image {path} cannot be sent to {nas}: {error.strerror}") from None
        finally:
            os.close(descriptor)
        return True


# The bases of the library's images on all NASes: listed, and removed with their image.


_Bases = list[tuple[str, "BaseRow"]]


def list_bases(database: Database) -> tuple[_Bases, list[str]]:
    """(NAS, base) of all NASes of the site, and a line for each NAS whose bases are not known.

    StateError when this machine has no certificate, BusyError without the broker.
    """
    found, failures = _ask(database)
    return found, [_not_known(nas, error) for nas, error in failures.items()]


def remove_bases(database: Database, digest: str) -> list[str]:
    """Remove the bases of an image that the library has no more; returns a line for each that may stay, and why.

    A base that disks are clones of stays until they are removed.
    """
    try:
        found, failures = _ask(database)
    except RocksError as error:
        return [f"Warning: whether NASes store the image is not known: {error}"]
    lines = [_not_known(nas, error) for nas, error in failures.items()]
    return lines + _remove(database, [(nas, base) for nas, base in found if base.digest == digest])


def remove_left_bases(database: Database, name: str) -> list[str] | None:
    """Remove the bases that an interrupted removal of the image has left, as `remove_bases`; None without any."""
    library = library_folder(database)
    check_image_name(name)
    if find_image(library, name) or any(leftover.name == name for leftover in find_leftovers(library)):
        return None
    known = {image.digest for image in read_images(library)}
    try:
        found, _ = _ask(database)
    except RocksError:
        return None
    left = [(nas, base) for nas, base in found if base.image == name and base.digest not in known]
    return _remove(database, left) if left else None


def _ask(database: Database) -> tuple[_Bases, dict[str, RocksError]]:
    """(NAS, base) of all NASes that answer, and the errors of the others."""
    nases = sorted(node.name for node in storage_nodes(database) if NAS in node.roles)
    if not nases:
        return [], {}
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage

    with open_storage(database) as storage:
        answers = storage.ask_each({nas: asking.new_query(nas, ListBases()) for nas in nases})
    found: _Bases = []
    failures: dict[str, RocksError] = {}
    for nas in nases:
        answer = answers[nas]
        if isinstance(answer, RocksError):
            failures[nas] = answer
        else:
            found += [(nas, row) for row in answer]
    return found, failures


def _not_known(nas: str, error: RocksError) -> str:
    return f"Warning: which images {nas} stores is not known: {error}"


def _remove(database: Database, bases: _Bases) -> list[str]:
    from rocks.storage.volumes.volumes import remove_image

    lines = []
    for nas, base in bases:
        try:
            remove_image(database, nas, base.zpool, base.zvol, force=False, now=True)
        except RocksError as error:
            lines.append(
                f"{nas}:{base.zpool}/{base.zvol} stays, with the image {base.image}: {error}. Then remove it: "
                f"{removal_command(nas, base.zpool, base.zvol)}"
            )
    return lines
