"""Rows of `img_moves`: images that are being moved from one NAS to another; loads nothing of image storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.storage.volumes.move_rules import ImageMove, check_not_moving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.storage.volumes.places import DiskLocation


def read_moves(database: Database) -> list[ImageMove]:
    """All of them, by NAS and volume."""
    rows = database.rows(
        "SELECT nas_name, zvol, target_name, target_zpool FROM img_moves ORDER BY nas_name, zvol"
    )
    return [ImageMove(*row) for row in rows]


def check_no_moves(database: Database, disks: Sequence[DiskLocation]) -> None:
    """StateError when the image of one of the disks is being moved; one statement, none without a disk on a NAS."""
    if any(disk.nas for disk in disks):
        check_not_moving(disks, read_moves(database))


def put_move(database: Database, move: ImageMove) -> None:
    """Record it; another move of the image is replaced."""
    database.execute(
        "INSERT INTO img_moves (nas_name, zvol, target_name, target_zpool) VALUES (%s, %s, %s, %s)"
        " ON DUPLICATE KEY UPDATE target_name = VALUES(target_name), target_zpool = VALUES(target_zpool)",
        move,
    )


def delete_move(database: Database, move: ImageMove) -> None:
    """It has ended, or was cancelled."""
    database.execute("DELETE FROM img_moves WHERE nas_name = %s AND zvol = %s", (move.nas, move.volume))


def rename_nas(database: Database, old: str, new: str) -> None:
    """Rename a NAS."""
    for column in ("nas_name", "target_name"):
        database.execute(f"UPDATE img_moves SET {column} = %s WHERE {column} = %s", (new, old))
