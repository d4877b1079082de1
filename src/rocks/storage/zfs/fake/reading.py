"""Pools in memory, and the reading commands of `zfs`."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from rocks.core.clock import Deadline
from rocks.core.errors import Code, HostError, StateError, ToolError
from rocks.storage.zfs.facts import BookmarkFact, History, PoolFact, SnapshotFact, VolumeFact
from rocks.storage.zfs.fake.contents import Pool, Snapshot, Volume
from rocks.storage.zfs.fake.streams import encode_token
from rocks.storage.zfs.names import AUTOMATIC

_FIRST_SECOND = 1_700_000_000


class FakeReading:
    """The reading part of `ZfsCommands`, which documents it."""

    def __init__(self, pools: Mapping[str, int], now: Optional[Callable[[], float]] = None) -> None:
        self.pools: Dict[str, Pool] = {name: Pool(name, size) for name, size in pools.items()}
        self._now = now

    def read_pool(self, pool: str) -> PoolFact:
        found = self.pool_of(pool)
        used = found.size_bytes - found.free_bytes()
        return PoolFact(pool, used + found.free_bytes(), found.free_bytes(), found.health)

    def list_pools(self) -> Tuple[str, ...]:
        return tuple(sorted(name for name, pool in self.pools.items() if pool.is_imported))

    def read_volume(self, volume: str) -> Optional[VolumeFact]:
        pool = self.pool_of(volume)
        if volume in pool.file_systems:
            raise StateError(f"{volume} is a filesystem, not a volume; rename or destroy it")
        found = pool.volumes.get(volume)
        return None if found is None else self._fact(pool, found)

    def read_volumes(self, volumes: Sequence[str]) -> Mapping[str, VolumeFact]:
        found = {volume: self.read_volume(volume) for volume in volumes}
        return {volume: fact for volume, fact in found.items() if fact is not None}

    def list_volumes(self, pool: str) -> Tuple[VolumeFact, ...]:
        found = self.pool_of(pool)
        volumes = (volume for name, volume in list(found.volumes.items()) if name.startswith(f"{pool}/"))
        return tuple(sorted(self._fact(found, volume) for volume in volumes))

    def read_history(self, volume: str) -> History:
        pool = self.pool_of(volume)
        found = pool.volumes.get(volume)
        if found is None:
            return History()
        bookmarks = (BookmarkFact(bookmark.name, bookmark.guid, bookmark.txg) for bookmark in found.bookmarks)
        return History(
            tuple(_snapshot_facts(pool, found)),
            tuple(sorted(bookmarks, key=lambda bookmark: (bookmark.createtxg, bookmark.name))),
        )

    def read_guids(self, snapshots: Sequence[str]) -> Mapping[str, str]:
        found = {name: self.pool_of(name).find_snapshot(name) for name in snapshots}
        return {name: snapshot.guid for name, snapshot in found.items() if snapshot is not None}

    def read_own(self, name: str) -> Mapping[str, str]:
        return dict(self._snapshot(name).properties)

    def read_written(self, volume: str, snapshot_name: str) -> int:
        return self._volume(volume).written_since(self._snapshot(f"{volume}@{snapshot_name}").txg)

    def shows_snapshots(self, volume: str) -> bool:
        return self._volume(volume).shows_snapshots

    def flush(self, volume: str) -> None:
        self.pool_of(volume)

    def wait_for_device(self, name: str, deadline: Deadline) -> str:
        """As `PoolDriver.wait_for_device`; a missing device never appears."""
        pool = self.pool_of(name)
        volume = pool.volumes.get(name.partition("@")[0])
        is_there = volume is not None and volume.size_bytes > 0
        if "@" in name:
            is_there = is_there and volume.shows_snapshots and pool.find_snapshot(name) is not None  # type: ignore[union-attr]
        if not is_there:
            raise HostError(f"the device /dev/zvol/{name} did not appear")
        return f"/dev/zvol/{name}"

    def pool_of(self, name: str) -> Pool:
        """The pool of a dataset. StateError when it is not imported."""
        pool = self.pools.get(name.split("/")[0].split("@")[0])
        if pool is None or not pool.is_imported:
            raise StateError(
                f"this machine has no ZFS pool {name.split('/')[0]}: `zpool list` shows imported pools",
                code=Code.POOL_MISSING,
            )
        return pool

    def _volume(self, name: str) -> Volume:
        volume = self.pool_of(name).volumes.get(name)
        if volume is None:
            raise ToolError(f"zfs: cannot open '{name}': dataset does not exist")
        return volume

    def _snapshot(self, name: str) -> Snapshot:
        snapshot = self.pool_of(name).find_snapshot(name)
        if snapshot is None:
            raise ToolError(f"zfs: cannot open '{name}': dataset does not exist")
        return snapshot

    def _new_name(self, name: str) -> Pool:
        pool = self.pool_of(name)
        above = name.rpartition("/")[0]
        if name in pool.volumes or name in pool.file_systems:
            raise ToolError(f"zfs: cannot create '{name}': dataset already exists")
        if "/" in above and above not in pool.file_systems:
            raise ToolError(f"zfs: cannot create '{name}': parent does not exist")
        return pool

    def _create_file_system_above(self, name: str) -> None:
        above = name.rpartition("/")[0]
        while "/" in above:
            self.pool_of(name).file_systems.add(above)
            above = above.rpartition("/")[0]

    def _fact(self, pool: Pool, volume: Volume) -> VolumeFact:
        start = volume.snapshots[-1].txg if volume.snapshots else volume.created_txg
        return VolumeFact(
            volume.name,
            volume.guid,
            volume.size_bytes,
            volume.block_bytes,
            pool.used_by(volume),
            volume.written_since(start) + volume.log_bytes,
            volume.reserved_bytes,
            volume.origin,
            None if volume.partial is None else encode_token(volume.partial),
            tuple(sorted(volume.properties.items())),
            volume.referenced_bytes(),
            volume.is_synchronous,
            volume.is_read_only,
        )

    def _seconds(self, txg: int) -> int:
        return int(self._now()) if self._now is not None else _FIRST_SECOND + txg


def _snapshot_facts(pool: Pool, volume: Volume) -> List[SnapshotFact]:
    facts: List[SnapshotFact] = []
    before = 0
    for snapshot in volume.snapshots:
        as_it_was = Volume("", "", 1, volume.block_bytes, blocks=snapshot.blocks)
        facts.append(
            SnapshotFact(
                snapshot.name,
                snapshot.guid,
                snapshot.txg,
                snapshot.seconds,
                as_it_was.written_since(0),
                as_it_was.written_since(before),
                tuple(sorted(snapshot.holds)),
                pool.clones_of(f"{volume.name}@{snapshot.name}"),
                snapshot.properties.get(AUTOMATIC) == "on",
            )
        )
        before = snapshot.txg
    return facts
