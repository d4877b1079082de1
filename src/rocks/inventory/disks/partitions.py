"""Partitions of hosts' disks in the database: add, remove, and ask hosts for theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import HostError, RocksError, UserError
from rocks.inventory.disks import partition_records as disk_partitions
from rocks.inventory.disks.partition_rules import LIST_COMMAND, check_partition, read_block_devices
from rocks.inventory.host_commands import Limits, run_on_hosts
from rocks.inventory.node_records import lock_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.inventory.disks.partition_rules import DiskPartition

_SECONDS = 30
_THREADS = 128


def add_disk_partition(database: Database, host: str, partition: DiskPartition) -> None:
    """Add a partition to a host. UserError for one that is not valid or that the host has, and for a removed host."""
    check_partition(partition)
    if not lock_hosts(database, [host]):
        raise UserError(f"another command has removed host {host} meanwhile")
    if any(one == partition for _, one in disk_partitions.list_disk_partitions(database, [host])):
        raise UserError(f"host {host} has this partition; rocks list host partition {host} shows all")
    disk_partitions.insert_disk_partitions(database, host, [partition])


def remove_disk_partitions(
    database: Database, hosts: Sequence[str], device: str | None, mount_point: str | None
) -> None:
    """Remove the hosts' partitions, or those on a device or with a mount point. UserError when they have none such."""
    removed = disk_partitions.delete_disk_partitions(database, hosts, device, mount_point)
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
    disk_partitions.delete_disk_partitions(database, list(found))
    for host, partitions in found.items():
        disk_partitions.insert_disk_partitions(database, host, partitions)
    database.commit()
    return failed
