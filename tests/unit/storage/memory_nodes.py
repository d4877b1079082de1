"""What a NAS and a host have in memory: pools, exports, sessions, devices. Their daemons come and go."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rocks.core.values import BYTES_PER_GIB, BYTES_PER_SECTOR
from rocks.storage.configuration import Configuration
from rocks.storage.device_mapper.dm_devices import DmDevices
from rocks.storage.image.names import target_prefix
from tests.fakes.device_mapper import FakeKernel
from tests.fakes.iscsi import FakeSessions, FakeTargets
from tests.fakes.libvirt import FakeDomains
from tests.fakes.zfs import FakePools

NAS, FRONTEND = "nas-0-0", "head"
HOSTS = HOST, OTHER_HOST = "vmc-0-0", "vmc-0-1"
_PREFIX = "/dev/zvol/"


class PoolDevices(dict[str, int]):
    """Block devices of a pool's volumes and snapshots, path → bytes."""

    def __init__(self, pools: FakePools) -> None:
        super().__init__()
        self._pools = pools

    def __contains__(self, path: object) -> bool:
        return self.size(str(path)) is not None

    def __missing__(self, path: str) -> int:
        size = self.size(path)
        if size is None:
            raise KeyError(path)
        return size

    def get(self, path: str, default: Any = None) -> Any:
        size = self.size(path)
        return default if size is None else size

    def size(self, path: str) -> int | None:
        """Of the device, None when there is none."""
        if not path.startswith(_PREFIX):
            return None
        fact = self._pools.read_volume(path[len(_PREFIX) :].partition("@")[0])
        return None if fact is None else fact.size_bytes


class VolumeFile(io.RawIOBase):
    """The block device of a volume, by its path."""

    def __init__(self, pools: FakePools, path: str) -> None:
        super().__init__()
        self._pools, self._volume, self._at = pools, path[len(_PREFIX) :], 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """From the beginning only."""
        assert whence == 0
        self._at = offset
        return offset

    def write(self, data: Any) -> int:
        self._pools.write(self._volume, bytes(data), self._at)
        self._at += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        found = self._pools.read(self._volume, size, self._at)
        self._at += len(found)
        return found


class HalvingWriter(io.RawIOBase):
    """The input of a receiver, written in halves, so that part of a stream can be lost; `stored` follows each half."""

    def __init__(
        self, target: Any, pass_one: Callable[[], object], stored: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__()
        self._target, self._pass_one, self._stored = target, pass_one, stored

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        whole = bytes(data)
        for part in (whole[: len(whole) // 2], whole[len(whole) // 2 :]):
            self._pass_one()
            self._target.write(part)
            self._stored()
        return len(whole)

    def close(self) -> None:
        self._target.close()
        super().close()


class MemoryNode:
    """A node whose disks outlive its daemon."""

    service: Any

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.store = folder / name / "imgstorage" / "records.db"
        self.pools = FakePools({"tank": 100 * BYTES_PER_GIB})
        self.devices = PoolDevices(self.pools)
        self.configuration = Configuration(name, FRONTEND, "local", "tank", 4, FRONTEND)

    def forget_records(self) -> None:
        """As a reinstallation of the node whose daemon has ended: its pools stay."""
        for file in self.store.parent.glob(f"{self.store.name}*"):
            file.unlink()


class MemoryNas(MemoryNode):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.targets = FakeTargets(target_prefix(name))
        self.targets.devices = self.devices

    def open_device(self, path: str) -> Any:
        return VolumeFile(self.pools, path)


class MemoryHost(MemoryNode):
    """A host. Its iSCSI sessions are with one NAS."""

    def __init__(self, name: str, folder: Path, nas: MemoryNas) -> None:
        super().__init__(name, folder)
        self.sessions = FakeSessions(nas.targets, f"iqn.2024-01.org.rocks.lab:{name}")
        self.kernel = FakeKernel(self.length_sectors)
        self.dm_devices = DmDevices(self.kernel.open)
        self.domains = FakeDomains()

    def length_sectors(self, path: str) -> int | None:
        """The length of a volume's device or of a session's disk; None without it."""
        size = self.devices.size(path)
        if size is None:
            size = next((s.size_bytes for s in self.sessions.read_sessions() if s.device_path == path), None)
        return None if size is None else size // BYTES_PER_SECTOR

    def read_start(self, path: str, count: int) -> bytes:
        """The start of a temp-write volume: in memory, always a valid header without writes."""
        return (b"SnAp" + (1).to_bytes(4, "little")).ljust(count, b"\0")

    def leftovers(self) -> list[str]:
        """Devices, sessions and volumes that a host has for mapped images only."""
        names = [fact.name for fact in self.pools.list_volumes("tank")]
        return [
            *(f"device {one.name}" for one in self.dm_devices.list()),
            *(f"session {one.target}" for one in self.sessions.read_sessions()),
            *(f"volume {name}" for name in names if "temp-write" in name or ".seed" in name),
        ]
