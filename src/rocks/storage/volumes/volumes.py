"""Images on a NAS: create empty ones, clone, import files, restore snapshots, remove, grow, set attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, Code, HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.core.values import BYTES_PER_GIB, check_text
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.records import resolve_attributes
from rocks.leases.plan import SAVED
from rocks.storage.client import asking
from rocks.storage.limits import LONGEST_GRACE_HOURS, MAP_SECONDS
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.image_files import ImageFile, as_raw
from rocks.storage.volumes.move_records import check_no_moves, lock_for_removal, lock_machine_of
from rocks.storage.volumes.places import check_pool_name, check_volume_name, volume_name
from rocks.storage.wire.names import is_base
from rocks.storage.wire.requests import (
    AddZvol,
    DelAttrs,
    DelCopy,
    DelZvol,
    GetAttrs,
    GrowZvol,
    RestoreZvol,
    SetAttrs,
    SetZvolAttrs,
    UndeleteZvol,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.connection import Database
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.storage.client import Watcher
    from rocks.storage.volumes.places import DiskLocation


def add_empty_image(database: Database, nas: str, zpool: str, volume: str, size_bytes: int) -> None:
    """Create an empty volume. StateError when a volume of that name exists."""
    _check(zpool, volume, size_bytes)
    with open_storage(database) as storage:
        storage.ask(asking.new_query(nas, AddZvol(zpool, volume, size_bytes)), MAP_SECONDS)


def add_clone(database: Database, nas: str, zpool: str, volume: str, origin: str) -> None:
    """Create a clone of a volume; it shares its blocks and uses no space of its own at first."""
    _check(zpool, volume, 1)
    check_volume_name(origin.partition("@")[0])
    with open_storage(database) as storage:
        storage.ask(asking.new_query(nas, AddZvol(zpool, volume, origin=origin)), MAP_SECONDS)


def import_image(
    database: Database, nas: str, zpool: str, volume: str, file: ImageFile, watcher: Watcher
) -> str:
    """Create a volume with the content of a file; returns its digest. An interrupted earlier import is completed."""
    from rocks.storage.client.importing import Destination, send_file
    from rocks.storage.client.listing import transfer_line
    from rocks.storage.volumes.access import open_transfer

    _check(zpool, volume, 1)
    converting = _converting(volume, watcher)
    database.end_reading()  # a conversion may take hours
    with as_raw(file, converting) as (raw, size_bytes), open_storage(database) as storage:
        address, port, context = open_transfer(database, nas)
        request = AddZvol(zpool, volume, size_bytes, importing=True)
        made = storage.ask(asking.new_query(nas, request), MAP_SECONDS)
        destination = Destination(nas, address, port, f"{zpool}/{volume}", made.guid, made.size_bytes)
        try:
            return send_file(
                raw, destination, context, lambda progress: watcher.progress(transfer_line(volume, progress))
            )
        except HostError as error:
            raise HostError(f"import of {nas}:{zpool}/{volume}: {error}; repeat the same command") from None


def _converting(volume: str, watcher: Watcher) -> Callable[[float], None] | None:
    """A function that reports the progress of the conversion; None when it is not displayed."""
    if not watcher.displays_progress:
        return None
    return lambda percent: watcher.progress(f"{volume}: {percent:.0f} % converted")


def _check(zpool: str, volume: str, size_bytes: int) -> None:
    check_pool_name(zpool)
    check_volume_name(volume)
    if size_bytes <= 0:
        raise UserError("size must be at least 1 (GiB)")


GONE_SECONDS = 300.0
_UNMAP_LOOK_SECONDS = 0.5


GRACE_ATTRIBUTE = "img_grace_hours"


def grace_hours(database: Database, nas: str) -> int:
    """For how long a removed image of the NAS can be restored. StateError when its attribute is no number."""
    found = resolve_attributes(database, [nas], GRACE_ATTRIBUTE).get(nas, {})
    text = found[GRACE_ATTRIBUTE].value if GRACE_ATTRIBUTE in found else KNOWN[GRACE_ATTRIBUTE].default
    if not text.isascii() or not text.isdigit() or int(text) > LONGEST_GRACE_HOURS:
        raise StateError(
            f"the attribute {GRACE_ATTRIBUTE} of {nas} is {text[:40]!r}; set hours, 0 to {LONGEST_GRACE_HOURS}, by "
            f"rocks set host attr {nas} {GRACE_ATTRIBUTE} HOURS"
        )
    return int(text)


def remove_image(
    database: Database, nas: str, zpool: str, volume: str, force: bool, *, now: bool = False
) -> int:
    """Destroy the volume with its snapshots after its grace period; returns the hours of that.

    0 with `now`, or where the NAS has none: it is gone then, with `force` and `now` also if its machine has snapshots.
    StateError while it is mapped, has clones or is what machines get their disks from, or, without `force`, while the
    copy of a host has changes that the NAS lacks; BusyError when the destruction takes longer than `GONE_SECONDS`.
    """
    check_pool_name(zpool)
    check_volume_name(volume)
    # the base of an image has no content of its own, and no grace period
    hours = 0 if now or is_base(volume) else grace_hours(database, nas)
    lock_machine_of(database, nas, volume)
    lock_for_removal(database, [(nas, zpool, volume)])
    with open_storage(database) as storage:
        request = DelZvol(zpool, volume, force, hours * 3600, with_snapshots=force and now)
        storage.ask(asking.new_query(nas, request), MAP_SECONDS)
        if hours or dry_run.is_on():  # a dry run destroys nothing, and need not wait until it is gone
            return hours
        deadline = Deadline(GONE_SECONDS)
        while not deadline.passed():
            row = next((row for row in storage.ask(asking.images_of(nas)) if row.zvol == volume), None)
            if row is None:
                return 0
            if row.state != "deleting":
                raise StateError(
                    f"ZVol {volume} is not destroyed; it is {row.state}: {row.reason or 'see the log of its NAS'}"
                )
            wait_seconds(_UNMAP_LOOK_SECONDS)
    raise BusyError(
        f"ZVol {volume} is still being destroyed: rocks list host storagemap {nas} shows when it is gone"
    )


def undelete_image(database: Database, nas: str, volume: str) -> str:
    """Restore a removed image; returns why it cannot be used, '' if it can. StateError unless in its grace period."""
    check_volume_name(volume)
    with open_storage(database) as storage:
        storage.ask(asking.new_query(nas, UndeleteZvol(volume)), MAP_SECONDS)
        return next((row.reason for row in storage.ask(asking.images_of(nas)) if row.zvol == volume), "")


def remove_copy(database: Database, host: str, volume: str, force: bool) -> None:
    """Destroy a copy that no guest uses, by its whole name. StateError when its NAS does not have all of it."""
    pool, _, name = volume.partition("/")
    check_pool_name(pool)
    check_volume_name(name)
    with open_storage(database) as storage:
        storage.ask(asking.new_query(host, DelCopy(volume, force)), MAP_SECONDS)


def restore_image(database: Database, nas: str, volume: str, snapshot: str, watcher: Watcher) -> None:
    """Make the snapshot the present content; the old content is preserved in a clone. StateError unless unmapped."""
    check_volume_name(volume)
    lock_machine_of(database, nas, volume)
    with open_storage(database) as storage:
        storage.wait(asking.new_query(nas, RestoreZvol(volume, snapshot)), MAP_SECONDS, watcher)


# --- the size of a disk on a NAS: the NAS grows the volume, then the record follows --------------------------------
# The volume's size is what counts: a map takes it, whatever the record says. A command that was killed in between is
# completed by the same command again.
#
# It grows only while no host has it, in a state of its own, since the tables of a mapped one would have to
# change their sizes at one moment. It never shrinks, and the pool must have the space that a map needs. A
# host's smaller copy stays usable as the base of a difference; to quarantine it would cost a whole copy.


def grow_volume(
    database: Database, vm: VirtualMachine, lease: Lease | None, location: DiskLocation, size_gib: int
) -> tuple[str, ...]:
    """Have the NAS grow the volume of a disk of the machine, which is locked; returns notes.

    StateError while a host may have the image, and for a volume that is larger. An image that its first start will make
    needs nothing: it gets the size of the record, which may be smaller.
    """
    _check_is_off(vm, lease, location)
    check_no_moves(database, [location])
    volume = volume_name(location.vm, location.number)
    request = GrowZvol(location.zpool, volume, size_gib * BYTES_PER_GIB, vm.uuid)
    try:
        with open_storage(database) as storage:
            storage.ask(asking.new_query(location.nas, request), MAP_SECONDS)
    except RocksError as error:
        if error.code is Code.IMAGE_UNKNOWN:
            return (f"{location.nas} has no volume {volume} yet: the next start of {vm.name} makes it",)
        raise
    return ()


def _check_is_off(vm: VirtualMachine, lease: Lease | None, location: DiskLocation) -> None:
    """StateError while the machine may run, or its memory is saved: its guest has the present size."""
    if lease is None:
        return
    volume = volume_name(location.vm, location.number)
    stop = f"rocks stop host vm {vm.name}{' saved=remove' if lease.state == SAVED else ''}"
    state = "is saved" if lease.state == SAVED else "may be running"
    raise StateError(
        f"{vm.name} {state} on {lease.host}, and its disk {location.nas}:{location.zpool}/{volume} grows only while "
        f"no host has it: {stop}, then rocks stop host vm {vm.name} terminate=yes, which waits until its changes are "
        "written back, then repeat the command"
    )


# --- attributes of a NAS and of its images -------------------------------------------------------------------------


IMAGE_ATTRIBUTES = ("frequency", "nextsync", "uploadspeed", "downloadspeed", "persistent")
LONGEST_NAME = 128
LONGEST_VALUE = 4096


def set_storage_attribute(database: Database, nas: str, name: str, value: str) -> None:
    """Set an attribute of the NAS; `none` in any case stores null. UserError for an invalid name or value."""
    _check_name(name)
    check_text("value", value, LONGEST_VALUE)
    with open_storage(database) as storage:
        storage.ask(asking.new_query(nas, SetAttrs(((name, _value(value)),))))


def remove_storage_attribute(database: Database, nas: str, name: str) -> None:
    """Remove an attribute of the NAS. StateError when it has no such attribute."""
    _check_name(name)
    with open_storage(database) as storage:
        if name not in storage.ask(asking.new_query(nas, GetAttrs())):
            raise StateError(
                f'{nas} has no attribute "{printable(name)}"; rocks list host storageattr {nas} shows its attributes'
            )
        storage.ask(asking.new_query(nas, DelAttrs((name,))))


def set_image_attribute(database: Database, nas: str, volume: str, name: str, value: str) -> None:
    """Set an attribute of an image; `none` in any case clears it. UserError for an invalid name or value."""
    check_volume_name(volume)
    check_image_attribute(name)
    check_text("value", value, LONGEST_VALUE)
    if name == "persistent":
        lock_machine_of(database, nas, volume)
    with open_storage(database) as storage:
        storage.ask(asking.new_query(nas, SetZvolAttrs(volume, ((name, _value(value)),))))


def _value(text: str) -> str | None:
    return None if text.lower() == "none" else text


def _check_name(name: str) -> None:
    check_text("attr", name, LONGEST_NAME)
    if not name or " " in name:
        raise UserError(f'attr "{printable(name)}" is not valid: it must be a name without blanks')


def check_image_attribute(name: str) -> None:
    """UserError unless `name` is an attribute of images."""
    if name not in IMAGE_ATTRIBUTES:
        raise UserError(
            f'"{printable(name)}" is not an attribute of images; these are {", ".join(IMAGE_ATTRIBUTES)}'
        )
