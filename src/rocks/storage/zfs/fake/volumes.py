"""Commands of `zfs` on volumes in memory, with the errors of ZFS."""

from __future__ import annotations

from typing import Mapping

from rocks.core.errors import BusyError, PoolFullError, ToolError
from rocks.storage.zfs.fake.contents import LOG_HEADER_BYTES, Pool, Volume, new_guid
from rocks.storage.zfs.fake.reading import FakeReading
from rocks.storage.zfs.names import OUR_PREFIX


class FakeVolumes(FakeReading):
    """The part of `ZfsCommands` on volumes, which documents it."""

    def create(
        self,
        volume: str,
        size_bytes: int,
        block_bytes: int,
        reserve_bytes: int,
        properties: Mapping[str, str],
    ) -> None:
        pool = self._new_name(volume)
        _check_space(pool, volume, reserve_bytes)
        txg = pool.next_txg()
        made = Volume(volume, new_guid(), size_bytes, block_bytes, reserve_bytes, shaped_txg=txg)
        made.properties.update(properties)
        pool.volumes[volume] = made

    def clone_all(self, origins: Mapping[str, str], properties: Mapping[str, str]) -> None:
        for volume, snapshot in origins.items():
            pool = self._new_name(volume)
            found, origin = self._snapshot(snapshot), self._volume(snapshot.partition("@")[0])
            made = Volume(volume, new_guid(), found.size_bytes, origin.block_bytes, origin=snapshot)
            made.blocks = dict(found.blocks)
            made.created_txg = pool.next_txg()
            made.properties.update(properties)
            pool.volumes[volume] = made

    def set_values(self, name: str, values: Mapping[str, str]) -> None:
        pool, volume = self.pool_of(name), self._volume(name)
        for key, value in values.items():
            if key.startswith(OUR_PREFIX):
                volume.properties[key] = value
            elif key == "volsize":
                volume.size_bytes, volume.shaped_txg = int(value), pool.next_txg()
            elif key == "refreservation":
                reserved = 0 if value == "none" else int(value)
                _check_space(pool, name, reserved - pool.used_by(volume))
                volume.reserved_bytes = reserved
            elif key == "sync":
                volume.is_synchronous = value == "always"
            elif key == "readonly":
                volume.is_read_only = value == "on"
            elif key == "snapdev":
                volume.shows_snapshots = value == "visible"
            else:
                raise ToolError(f"zfs set of {name} failed: invalid property '{key}'")

    def rename(self, volume: str, new_name: str) -> None:
        self._create_file_system_above(new_name)
        pool, renamed = self._new_name(new_name), self._volume(volume)
        for other in pool.volumes.values():
            if other.origin is not None and other.origin.startswith(f"{volume}@"):
                other.origin = f"{new_name}@{other.origin.partition('@')[2]}"
        renamed.name = new_name
        pool.volumes[new_name] = pool.volumes.pop(volume)

    def promote(self, volume: str) -> None:
        pool, clone = self.pool_of(volume), self._volume(volume)
        if clone.origin is None:
            raise ToolError(f"zfs promote of {volume} failed: not a cloned filesystem")
        origin_name, _, part = clone.origin.partition("@")
        origin, shared = pool.volumes[origin_name], self._snapshot(clone.origin)
        moved = [snapshot for snapshot in origin.snapshots if snapshot.txg <= shared.txg]
        for other in pool.volumes.values():
            if other.origin in {f"{origin_name}@{snapshot.name}" for snapshot in moved}:
                other.origin = f"{volume}@{str(other.origin).partition('@')[2]}"
        clone.snapshots[:0] = moved
        origin.snapshots = origin.snapshots[len(moved) :]
        clone.origin, origin.origin = origin.origin, f"{volume}@{part}"

    def rollback(self, snapshot: str) -> None:
        volume, found = self._volume(snapshot.partition("@")[0]), self._snapshot(snapshot)
        if volume.snapshots[-1] is not found:
            raise ToolError(f"zfs rollback of {snapshot} failed: more recent snapshots or bookmarks exist")
        volume.blocks, volume.size_bytes = dict(found.blocks), found.size_bytes
        volume.shaped_txg = min(volume.shaped_txg, found.txg)
        volume.log_bytes = LOG_HEADER_BYTES

    def check_not_open(self, volume: str) -> None:
        if self._volume(volume).is_open:
            raise BusyError(f"the device /dev/zvol/{volume} is in use; nothing was changed")

    def destroy(self, name: str) -> None:
        pool = self.pool_of(name)
        if "#" in name:
            volume = self._volume(name.partition("#")[0])
            remaining = [b for b in volume.bookmarks if f"{volume.name}#{b.name}" != name]
            if remaining == volume.bookmarks:
                raise ToolError(f"zfs destroy of {name} failed: bookmark does not exist")
            volume.bookmarks = remaining
        elif "@" in name:
            volume_name, _, parts = name.partition("@")
            doomed = [self._snapshot(f"{volume_name}@{part}") for part in parts.split(",")]
            for snapshot in doomed:
                if snapshot.holds:
                    raise BusyError(f"zfs destroy of {name} failed: dataset is busy")
                if pool.clones_of(f"{volume_name}@{snapshot.name}"):
                    raise ToolError(f"zfs destroy of {name} failed: snapshot has dependent clones")
            volume = self._volume(volume_name)
            volume.snapshots = [snapshot for snapshot in volume.snapshots if snapshot not in doomed]
        else:
            volume = self._volume(name)
            if volume.snapshots:
                raise ToolError(f"zfs destroy of {name} failed: volume has children")
            if volume.is_open or volume.is_receiving:
                raise BusyError(f"zfs destroy of {name} failed: dataset is busy")
            del pool.volumes[name]


def _check_space(pool: Pool, name: str, more_bytes: int) -> None:
    if more_bytes > pool.free_bytes():
        raise PoolFullError(f"zfs: {name} failed: out of space; the pool is full")
