"""Whether the image of a disk is being moved to another NAS; loads nothing of image storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.storage.volumes import move_records as image_moves
from rocks.storage.volumes.move_rules import check_not_moving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.storage.volumes.places import DiskLocation


def check_no_moves(database: Database, disks: Sequence[DiskLocation]) -> None:
    """StateError when the image of one of the disks is being moved; one statement, none without a disk on a NAS."""
    if any(disk.nas for disk in disks):
        check_not_moving(disks, image_moves.read_moves(database))
