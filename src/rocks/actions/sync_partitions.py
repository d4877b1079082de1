"""The subnet manager knows what the database says: which ports are in which partition, and when.

A port is a member from before the first machine of a cluster starts on its host until the last one's lease is
released. Members are no rows of their own: they follow from leases and the keys under which they were taken.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from rocks.cluster.attributes import KNOWN
from rocks.cluster.partition_plan import (
    DEFAULT_MEMBERSHIP_ATTRIBUTE,
    PartitionTable,
    check_default_membership,
    check_sm,
    refuse_shared_guids,
)
from rocks.cluster.pkeys import read_membership
from rocks.database import partitions as table
from rocks.database.attributes import global_attributes
from rocks.errors import RocksError, StateError
from rocks.hosts.subnet_manager import ManagerSettings, SubnetManager
from rocks.render.partitions import our_lines, with_our_lines
from rocks.wire.infiniband import PartitionSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database


class SyncedPartitions(NamedTuple):
    """What the subnet manager was told: the file, whether it was another before, and how much it holds."""

    path: str
    changed: bool
    partitions: int
    members: int


def partitions_document(database: Database) -> str:
    """The file as `sync_partitions` would leave it."""
    attributes = _attributes(database)
    path = attributes["ib_partitions_file"]
    return _merged(path, _manager(attributes).read_partitions(), _read_table(database, attributes))


def sync_partitions(database: Database, always: bool = True) -> SyncedPartitions | None:
    """Write the file and have opensm read it; without `always` only where something is new (else None). Commits.

    One command at a time. StateError, ToolError or HostError when the file cannot be written or opensm not told; the
    next call then tries again.
    """
    database.lock(table.LOCK, table.LOCK_SECONDS)
    try:
        attributes = _attributes(database)
        manager, path = _manager(attributes), attributes["ib_partitions_file"]
        wanted = _read_table(database, attributes)
        text = _merged(path, manager.read_partitions(), wanted)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not always and digest == table.reported_digest(database):
            return None
        changed = manager.write_partitions(text)
        manager.reload()
        table.record_digest(database, digest)
        database.commit()
        return SyncedPartitions(
            path, changed, len({member.pkey for member in wanted.members}), len(wanted.members)
        )
    finally:
        database.unlock(table.LOCK)


def join_partitions(database: Database, names: Sequence[str]) -> tuple[str, ...]:
    """Have the hosts of these machines, which hold their leases, be members of their clusters' partitions. Commits.

    Returns warnings: a machine without an InfiniBand function need not wait for a subnet manager, and one with such a
    function is refused by its host until the key has come. Where no cluster has a partition, that is one statement.
    """
    if not table.has_partitions(database):
        return ()
    machines = table.keyed_machines(database, names)
    if not machines:
        return ()
    database.lock(table.LOCK, table.LOCK_SECONDS)
    try:
        machines = table.keyed_machines(database, names)
        table.give_guids(database, [machine.name for machine in machines if machine.guids is None])
        table.record_uses(database, {machine.name: machine.partition.pkey for machine in machines})
        database.commit()
    finally:
        database.unlock(table.LOCK)
    if not table.host_members(database):
        return ()  # none of these hosts is on the fabric
    return _told_if_new(database)


def partitions_of_machines(database: Database, names: Sequence[str]) -> dict[str, PartitionSpec]:
    """Name → what the machine's InfiniBand function is to have, for those whose cluster has a partition."""
    if not table.has_partitions(database):
        return {}
    machines = table.keyed_machines(database, names)
    sees_machines = bool(machines) and check_sm(_attributes(database)["ib_sm"])
    return {
        machine.name: PartitionSpec(
            machine.partition.pkey,
            read_membership(machine.partition.membership),
            f"{machine.guids.node:016x}",
            f"{machine.guids.port:016x}",
            sees_machines,
        )
        for machine in machines
        if machine.guids is not None
    }


def leave_partitions(database: Database) -> tuple[str, ...]:
    """Have hosts leave the partitions of which nothing runs there any more. Commits; returns warnings."""
    if not table.has_uses(database):
        return ()
    table.forget_ended_uses(database)
    database.commit()
    if not table.reported_digest(database):
        return ()  # nobody has been told of anything yet
    return _told_if_new(database)


def _told_if_new(database: Database) -> tuple[str, ...]:
    try:
        sync_partitions(database, always=False)
    except RocksError as error:
        database.rollback()
        return (
            f"Warning: the InfiniBand partitions are not in force: {error}. Then run rocks sync ib partitions",
        )
    return ()


def _merged(path: str, existing: str, wanted: PartitionTable) -> str:
    try:
        return with_our_lines(existing, our_lines(wanted))
    except StateError as error:
        raise StateError(f"{path} cannot be changed: {error}") from None


def _read_table(database: Database, attributes: Mapping[str, str]) -> PartitionTable:
    members = table.host_members(database)
    if check_sm(attributes["ib_sm"]):
        members += table.machine_members(database)
    refuse_shared_guids(tuple(members))
    return PartitionTable(
        check_default_membership(attributes[DEFAULT_MEMBERSHIP_ATTRIBUTE]),
        tuple(table.read_partitions(database)),
        tuple(members),
    )


def _attributes(database: Database) -> dict[str, str]:
    found = global_attributes(database)
    return {name: found.get(name) or known.default for name, known in KNOWN.items() if name.startswith("ib_")}


def _manager(attributes: Mapping[str, str]) -> SubnetManager:
    return SubnetManager(
        ManagerSettings(
            attributes["ib_partitions_file"],
            attributes["ib_opensm_pid_file"],
            attributes["ib_opensm_reload"],
        )
    )
