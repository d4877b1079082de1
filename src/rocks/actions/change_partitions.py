"""Give virtual clusters InfiniBand partitions, change them, take them away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rocks.cluster.partition_plan import Partition
from rocks.cluster.pkeys import POOL_ATTRIBUTE, next_pkey, pkey_text, read_membership, read_pkey
from rocks.database import partitions as table
from rocks.database.attributes import global_attributes
from rocks.database.clusters import clusters_of
from rocks.errors import StateError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database

NO_PKEY = "none"


@dataclass(frozen=True)
class PartitionParameters:
    """The words of a partition, unread; None is what was not said."""

    pkey: str | None = None
    membership: str | None = None
    has_ipoib: bool | None = None


def add_partition(database: Database, frontend: str, words: PartitionParameters) -> Partition:
    """Give a cluster a partition, with the lowest free key of the pool where none is named.

    StateError, and no change, when it has one, when the key is taken, or when the pool has no key left.
    """
    (cluster,) = clusters_of(database, [frontend])
    database.lock(table.LOCK, table.LOCK_SECONDS)
    for existing in table.read_partitions(database, [frontend]):
        raise StateError(
            f"{frontend} has the partition {pkey_text(existing.pkey)}; change it with rocks set ib partition {frontend}"
        )
    partition = _new_partition(database, cluster.frontend, words, global_attributes(database))
    table.insert_partition(database, partition)
    return partition


def add_new_clusters_partition(
    database: Database, frontend: str, pkey: str | None, site: Mapping[str, str]
) -> int | None:
    """The key that a cluster gets which is being added: the named one, or one of the pool where there is a pool.

    `site` are the global attributes.
    """
    wanted = None if pkey is None else pkey.strip().lower()
    if wanted == NO_PKEY or (wanted is None and not _pool(site)):
        return None
    database.lock(table.LOCK, table.LOCK_SECONDS)
    partition = _new_partition(database, frontend, PartitionParameters(wanted), site)
    table.insert_partition(database, partition)
    return partition.pkey


def check_pkey_word(pkey: str | None) -> None:
    """UserError unless it is a key, `none`, or nothing."""
    if pkey is not None and pkey.strip().lower() != NO_PKEY:
        read_pkey(pkey.strip())


def set_partition(database: Database, frontend: str, words: PartitionParameters) -> Partition:
    """Change what is named. StateError when the key is taken, or when machines run under the present one."""
    if words == PartitionParameters():
        raise UserError("must supply pkey, membership or ipoib")
    database.lock(table.LOCK, table.LOCK_SECONDS)
    (present,) = _existing(database, [frontend])
    pkey = present.pkey if words.pkey is None else read_pkey(words.pkey)
    if pkey != present.pkey:
        _refuse_running(database, [present])
        _refuse_taken(database, pkey)
    partition = Partition(
        present.frontend,
        pkey,
        present.membership if words.membership is None else read_membership(words.membership),
        present.has_ipoib if words.has_ipoib is None else words.has_ipoib,
    )
    table.update_partition(database, partition)
    return partition


def remove_partitions(database: Database, frontends: Sequence[str]) -> None:
    """Take the partitions away; their keys go back to the pool. StateError, and no change, while machines run."""
    database.lock(table.LOCK, table.LOCK_SECONDS)
    _refuse_running(database, _existing(database, frontends))
    table.delete_partitions(database, frontends)


def _new_partition(
    database: Database, frontend: str, words: PartitionParameters, site: Mapping[str, str]
) -> Partition:
    membership = read_membership("full" if words.membership is None else words.membership)
    if words.pkey is None:
        pkey = next_pkey(_pool(site), table.used_keys(database))
    else:
        pkey = read_pkey(words.pkey)
        _refuse_taken(database, pkey)
    return Partition(frontend, pkey, membership, words.has_ipoib is not False)


def _existing(database: Database, frontends: Sequence[str]) -> list[Partition]:
    found = {
        partition.frontend.lower(): partition for partition in table.read_partitions(database, frontends)
    }
    for name in frontends:
        if name.lower() not in found:
            raise StateError(f"{name} has no partition; rocks add ib partition {name} gives it one")
    return [found[name.lower()] for name in frontends]


def _refuse_taken(database: Database, pkey: int) -> None:
    for partition in table.read_partitions(database):
        if partition.pkey == pkey:
            raise StateError(
                f"the key {pkey_text(pkey)} is that of {partition.frontend}; rocks list ib partition shows all"
            )
    for _, name, host in table.running_under(database, [pkey]):
        raise StateError(
            f"the key {pkey_text(pkey)} is in use: {name} may still run under it on {host}; "
            f"rocks stop host vm {name}, or choose another key"
        )


def _refuse_running(database: Database, partitions: Sequence[Partition]) -> None:
    for pkey, name, host in table.running_under(database, [partition.pkey for partition in partitions]):
        raise StateError(
            f"the key {pkey_text(pkey)} is in use: {name} may run under it on {host}; stop it first: "
            f"rocks stop host vm {name}"
        )


def _pool(site: Mapping[str, str]) -> str:
    return site.get(POOL_ATTRIBUTE, "").strip()
