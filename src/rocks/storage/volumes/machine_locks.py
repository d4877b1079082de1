"""Commands that change or destroy an image leave alone what a moving machine, or a fresh disk, is about to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.attributes.records import members_with_values
from rocks.leases.lease import LOCK_WAIT_SECONDS, ensure_locked
from rocks.library.guest_images import IMAGE_ATTRIBUTE, VOLUME_PREFIX, check_no_users
from rocks.storage.volumes.move_rules import disks_of_image
from rocks.storage.volumes.place_records import disk_locations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rocks.database.connection import Database
    from rocks.storage.volumes.places import DiskLocation


def disks_of(database: Database, nas: str, volume: str) -> list[DiskLocation]:
    """The disks of virtual machines that the image is."""
    return disks_of_image(nas, volume, disk_locations(database, None))


def lock_machine_of(database: Database, nas: str, volume: str) -> None:
    """Lock the machine whose disk the image is, until the connection closes.

    BusyError while another command changes it, StateError while its guest is between two hosts (decision 177): it would
    go on with another content than it has in memory.
    """
    disks = disks_of(database, nas, volume)
    ensure_locked(database, [disk.vm for disk in disks])


def lock_for_removal(
    database: Database, volumes: Collection[tuple[str, str, str]], removed: Collection[str] = ()
) -> None:
    """Lock volumes (NAS, pool, name) that are to be destroyed, until the connection closes.

    StateError when machines get their disks from one, but those that are `removed` with it; BusyError while another
    command destroys one.
    """
    database.lock_all([_lock_name(nas, volume) for nas, _, volume in volumes], LOCK_WAIT_SECONDS)
    database.end_reading()
    names = {f"{VOLUME_PREFIX}{volume}": (nas, zpool) for nas, zpool, volume in volumes}
    found = [one for one in members_with_values(database, IMAGE_ATTRIBUTE, [*names]) if one[0] not in removed]
    disks = disk_locations(database, [user for user, _ in found])
    places = {disk.vm: (disk.nas, disk.zpool) for disk in disks if disk.number == 0}
    for name, place in names.items():
        check_no_users(
            name, [user for user, used in found if used == name and places.get(user, place) == place]
        )


def wait_for_removals(database: Database, volumes: Iterable[tuple[str, str]]) -> None:
    """Return when no command destroys one of the volumes (NAS, name). BusyError after `LOCK_WAIT_SECONDS`.

    A removal that begins later finds the machines that get their disks from it.
    """
    names = [_lock_name(nas, volume) for nas, volume in volumes]
    database.lock_all(names, LOCK_WAIT_SECONDS)
    database.unlock_all(names)


def _lock_name(nas: str, volume: str) -> str:
    return f"volume {nas}:{volume}"
