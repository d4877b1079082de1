"""Commands that change the content of an image, or who has it, leave alone what a moving machine is about to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.machine_locks import ensure_locked
from rocks.storage.volumes.move_rules import disks_of_image
from rocks.storage.volumes.place_records import disk_locations

if TYPE_CHECKING:
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
