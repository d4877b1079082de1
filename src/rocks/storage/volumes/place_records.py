"""Rows of `img_nas_server`: NAS and pool of the disks of virtual machines; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database.sets import among, in_order
from rocks.storage.volumes.places import DiskLocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.database.connection import Database


def disk_locations(database: Database, names: Sequence[str] | None) -> list[DiskLocation]:
    """Every disk of the named virtual machines, in their order, or of all (None); one statement.

    Disks without a NAS have empty names. Hosts that are not virtual machines or have no disk are omitted.
    """
    where, values = among("n.Name", names)
    rows = database.rows(
        "SELECT n.Name, d.ID, COALESCE(s.nas_name, ''), COALESCE(s.zpool_name, '') FROM nodes n"
        " JOIN vm_nodes v ON v.Node = n.ID JOIN vm_disks d ON d.Vm_Node = v.ID"
        f" LEFT JOIN img_nas_server s ON s.vm_disk_id = d.ID{where} ORDER BY n.ID, d.ID",
        values,
    )
    if names is not None:
        rows = in_order(rows, names)
    counts: dict[str, int] = {}
    disks = []
    for name, disk_id, nas, zpool in rows:
        number = counts.get(name, 0)
        counts[name] = number + 1
        disks.append(DiskLocation(name, number, disk_id, nas, zpool))
    return disks


def put_disks(database: Database, disks: Iterable[DiskLocation]) -> None:
    """Set NAS and pool of the disks, whether they have a row or not."""
    database.insert_many(
        "INSERT INTO img_nas_server (vm_disk_id, nas_name, zpool_name) VALUES",
        [(disk.disk_id, disk.nas, disk.zpool) for disk in disks],
        "ON DUPLICATE KEY UPDATE nas_name = VALUES(nas_name), zpool_name = VALUES(zpool_name)",
    )


def set_devices(database: Database, devices: Mapping[int, tuple[str, str]]) -> None:
    """Make these disks block devices: ID of the disk → folder and name of its device; one statement."""
    if devices:
        rows = " UNION ALL ".join(["SELECT %s AS ID, %s AS Folder, %s AS Device"] * len(devices))
        database.execute(
            f"UPDATE vm_disks d JOIN ({rows}) w ON w.ID = d.ID"
            " SET d.VBD_Type = 'phy', d.Prefix = w.Folder, d.Name = w.Device",
            [cell for disk_id, device in devices.items() for cell in (disk_id, *device)],
        )


def delete_disks(database: Database, names: Sequence[str]) -> None:
    """Delete the rows of all disks of the named virtual machines; other names are ignored."""
    database.execute(
        "DELETE s FROM img_nas_server s JOIN vm_disks d ON d.ID = s.vm_disk_id"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node"
        " WHERE n.Name IN %s",
        [names],
    )


def rename_nas(database: Database, old: str, new: str) -> None:
    """Rename a NAS."""
    database.execute("UPDATE img_nas_server SET nas_name = %s WHERE nas_name = %s", (new, old))
