"""Rows of `partitions`: the partitions of hosts' disks, as the hosts reported them; always in sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import HostError, RocksError, UserError
from rocks.database.sets import in_order
from rocks.inventory.disks.partition_rules import (
    LIST_COMMAND,
    DiskPartition,
    check_partition,
    read_block_devices,
)
from rocks.inventory.host_requests import Limits, run_on_hosts
from rocks.inventory.hosts import lock_hosts

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


# Partitions of hosts' disks in the database: add, remove, and ask hosts for theirs.


_SECONDS = 30
_THREADS = 128


def add_disk_partition(database: Database, host: str, partition: DiskPartition) -> None:
    """Add a partition to a host. UserError for one that is not valid or that the host has, and for a removed host."""
    check_partition(partition)
    if not lock_hosts(database, [host]):
        raise UserError(f"another command has removed host {host} meanwhile")
    if any(one == partition for _, one in list_disk_partitions(database, [host])):
        raise UserError(f"host {host} has this partition; rocks list host partition {host} shows all")
    insert_disk_partitions(database, host, [partition])


def remove_disk_partitions(
    database: Database, hosts: Sequence[str], device: str | None, mount_point: str | None
) -> None:
    """Remove the hosts' partitions, or those on a device or with a mount point. UserError when they have none such."""
    removed = delete_disk_partitions(database, hosts, device, mount_point)
    if not removed and (device or mount_point):
        raise UserError("these hosts have no such partition; rocks list host partition shows all")


def save_disk_partitions(database: Database, hosts: Sequence[str]) -> dict[str, RocksError]:
    """Ask the hosts for their partitions and replace those in the database; returns host → error. Commits.

    A host that does not answer, or whose answer cannot be read, keeps those that it has.
    """
    failed: dict[str, RocksError] = {}
    found: dict[str, list[DiskPartition]] = {}
    for result in run_on_hosts(database, hosts, LIST_COMMAND, Limits(_SECONDS, 0, _THREADS)):
        try:
            if result.state != "done" or result.exit_status:
                reason = result.message or result.error_output.strip() or result.state
                raise HostError(f"its partitions cannot be read: {reason}")
            found[result.host] = read_block_devices(result.output)
        except RocksError as error:
            failed[result.host] = error
    left = lock_hosts(database, list(found))
    for host in [one for one in found if one not in left]:
        failed[host] = HostError("another command has removed it meanwhile")
        del found[host]
    delete_disk_partitions(database, list(found))
    for host, partitions in found.items():
        insert_disk_partitions(database, host, partitions)
    database.commit()
    return failed
