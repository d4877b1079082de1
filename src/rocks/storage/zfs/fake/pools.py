"""Pools in memory: the operations of the real driver on `FakeZfsCommands`.

The pools outlive the daemon that uses them, so a test can kill it between two calls and start it again.
"""

from __future__ import annotations

from typing import Callable, Dict, Mapping, Optional

from rocks.core.errors import BusyError
from rocks.core.units import BYTES_PER_GIB
from rocks.storage.zfs.driver import PoolDriver
from rocks.storage.zfs.fake.commands import FakeZfsCommands
from rocks.storage.zfs.fake.contents import Pool, Volume

_DEFAULT_BYTES = 100 * BYTES_PER_GIB


class FakePools(PoolDriver):
    """Pools of these names and sizes. `now` returns the creation time of snapshots in seconds since 1970."""

    def __init__(
        self, pools: Optional[Mapping[str, int]] = None, now: Optional[Callable[[], float]] = None
    ) -> None:
        self.fake = FakeZfsCommands(pools if pools is not None else {"tank": _DEFAULT_BYTES}, now)
        super().__init__(self.fake)

    # --- guests, exports, disks

    def write(self, volume: str, data: bytes, offset_bytes: int = 0) -> None:
        """Write to the volume's device. OSError when the pool is full, or the volume is read only."""
        found = self._find(volume)
        if found.is_read_only:
            raise OSError(1, "the volume is read only")
        size = found.block_bytes
        first, last = offset_bytes // size, (offset_bytes + len(data) - 1) // size
        changed: Dict[int, Optional[bytes]] = {}
        for number in range(first, last + 1):
            block = found.blocks.get(number)
            old = block.data if block is not None and block.data is not None else bytes(size)
            begin = max(offset_bytes - number * size, 0)
            piece = data[max(number * size - offset_bytes, 0) : (number + 1) * size - offset_bytes]
            new = old[:begin] + piece + old[begin + len(piece) :]
            changed[number] = new if any(new) else None
        if (last + 1) * size > found.size_bytes:
            raise OSError(28, "beyond the end of the volume")
        pool = self.fake.pool_of(volume)
        if sum(len(block) for block in changed.values() if block is not None) > pool.free_bytes():
            raise OSError(5, "the pool is full")
        pool.write(found, changed)

    def read(self, name: str, length: int, offset_bytes: int = 0) -> bytes:
        """Read from the device of a volume or snapshot (`volume@snapshot`)."""
        size = self._find(name.partition("@")[0]).block_bytes
        blocks = self.content(name)
        first, last = offset_bytes // size, (offset_bytes + length - 1) // size
        whole = b"".join(blocks.get(number, bytes(size)) for number in range(first, last + 1))
        return whole[offset_bytes - first * size :][:length]

    def content(self, name: str) -> Mapping[int, bytes]:
        """All non-zero blocks of a volume or snapshot by number; equal contents compare equal."""
        snapshot = self.fake.pool_of(name).find_snapshot(name) if "@" in name else None
        blocks = snapshot.blocks if snapshot is not None else self._find(name).blocks
        return {number: block.data for number, block in sorted(blocks.items()) if block.data is not None}

    def open_device(self, volume: str) -> None:
        """Open the volume's device exclusively. BusyError when it is open."""
        found = self._find(volume)
        if found.is_open:
            raise BusyError(f"the device /dev/zvol/{volume} is in use")
        found.is_open = True

    def close_device(self, volume: str) -> None:
        """Close the device; no effect when it is not open or missing."""
        found = self.fake.pool_of(volume).volumes.get(volume)
        if found is not None:
            found.is_open = False

    # --- failures

    def cut_next_send(self, after_bytes: int) -> None:
        """Kill the next sender after that many bytes of its stream."""
        self.fake.cut_next_send_after_bytes = after_bytes

    def leave_free(self, pool: str, free_bytes: int) -> None:
        """Set the pool size so that this much is free."""
        found = self._pool(pool)
        found.size_bytes = sum(map(found.used_by, found.volumes.values())) + free_bytes

    def export_pool(self, pool: str) -> None:
        """Remove the pool, as after a boot without its disks."""
        self._pool(pool).is_imported = False

    def import_pool(self, pool: str) -> None:
        """Bring the pool back, with all devices closed."""
        found = self.fake.pools[pool]
        found.is_imported = True
        for volume in found.volumes.values():
            volume.is_open = False

    def add_file_system(self, name: str) -> None:
        """Add a file system."""
        self._pool(name).file_systems.add(name)

    def _pool(self, name: str) -> Pool:
        return self.fake.pools[name.split("/")[0]]

    def _find(self, volume: str) -> Volume:
        return self._pool(volume).volumes[volume]
