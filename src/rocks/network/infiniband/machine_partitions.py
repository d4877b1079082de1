"""What starts and ends of machines do to partitions. At a site without InfiniBand it is one statement.

The modules of partitions are imported late: few sites have one, and each start would pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.fleet.wire.requests import PartitionSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def join_partitions(database: Database, names: Sequence[str]) -> tuple[str, ...]:
    """Make the hosts that hold the leases of these machines members of the clusters' partitions. Commits.

    Returns warnings instead of errors: a machine without an InfiniBand function does not need the subnet manager, and a
    host rejects the start of a machine with such a function until it has the key. One statement when no cluster has a
    partition.
    """
    if not _has_partitions(database):
        return ()
    from rocks.network.infiniband import partitions as table
    from rocks.network.infiniband.partitions import publish_if_changed

    machines = table.keyed_machines(database, names)
    if not machines:
        return ()
    with database.locked(table.LOCK, table.LOCK_SECONDS):
        machines = table.keyed_machines(database, names)
        table.give_guids(database, [machine.name for machine in machines if machine.guids is None])
        table.record_uses(database, {machine.name: machine.partition.pkey for machine in machines})
        database.commit()
    if not table.host_members(database):
        return ()  # none of these hosts is on the fabric
    return publish_if_changed(database)


def partitions_of_machines(database: Database, names: Sequence[str]) -> dict[str, PartitionSpec]:
    """Name → the settings of the machine's InfiniBand function, for machines whose cluster has a partition."""
    if not _has_partitions(database):
        return {}
    from rocks.network.infiniband import partitions as table
    from rocks.network.infiniband.partitions import sees_machines
    from rocks.network.infiniband.pkeys import read_membership

    machines = table.keyed_machines(database, names)
    by_guid = bool(machines) and sees_machines(database)
    return {
        machine.name: PartitionSpec(
            machine.partition.pkey,
            read_membership(machine.partition.membership),
            f"{machine.guids.node:016x}",
            f"{machine.guids.port:016x}",
            by_guid,
        )
        for machine in machines
        if machine.guids is not None
    }


def leave_partitions(database: Database) -> tuple[str, ...]:
    """Remove hosts from partitions of which no machine runs there any more. Commits; returns warnings."""
    if not database.rows("SELECT 1 FROM ib_key_uses LIMIT 1"):
        return ()
    from rocks.network.infiniband import partitions as table
    from rocks.network.infiniband.partitions import publish_if_changed

    table.forget_ended_uses(database)
    database.commit()
    if not table.reported_digest(database):
        return ()  # nothing was published yet
    return publish_if_changed(database)


def _has_partitions(database: Database) -> bool:
    return bool(database.rows("SELECT 1 FROM ib_partitions LIMIT 1"))
