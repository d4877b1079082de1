"""Rows of `partitions`: the partitions of hosts' disks, as the hosts reported them; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import in_order
from rocks.inventory.disks.partition_rules import DiskPartition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_COLUMNS = "Device, Mountpoint, SectorStart, PartitionSize, PartitionID, FsType, PartitionFlags, FormatFlags"


def list_disk_partitions(database: Database, names: Sequence[str]) -> list[tuple[str, DiskPartition]]:
    """(host, partition) of the named hosts, in their order, then as in the database."""
    columns = ", ".join(f"COALESCE(p.{column}, '')" for column in _COLUMNS.split(", "))
    rows = database.rows(
        f"SELECT n.Name, {columns} FROM partitions p JOIN nodes n ON n.ID = p.Node"
        " WHERE n.Name IN %s ORDER BY p.ID",
        [names],
    )
    return [(str(host), DiskPartition(*cells)) for host, *cells in in_order(rows, names)]


def insert_disk_partitions(database: Database, host: str, partitions: Sequence[DiskPartition]) -> None:
    """Add partitions to a host."""
    if partitions:
        node = "(SELECT ID FROM nodes WHERE Name = %s)"
        row = f"({node}, {', '.join(['%s'] * len(DiskPartition._fields))})"
        database.execute(
            f"INSERT INTO partitions (Node, {_COLUMNS}) VALUES {', '.join([row] * len(partitions))}",
            [cell for one in partitions for cell in (host, *(value or None for value in one))],
        )


def delete_disk_partitions(
    database: Database, names: Sequence[str], device: str | None = None, mount_point: str | None = None
) -> int:
    """Remove the hosts' partitions, or only those on a device or with a mount point; returns their number."""
    chosen = [(column, value) for column, value in (("Device", device), ("Mountpoint", mount_point)) if value]
    condition = "".join(f" AND p.{column} = %s" for column, _ in chosen)
    return database.execute(
        f"DELETE p FROM partitions p JOIN nodes n ON n.ID = p.Node WHERE n.Name IN %s{condition}",
        [names, *(value for _, value in chosen)],
    )
