"""A guest of the driven site: at any moment it writes to the device that its host has, and reads what it has written.

The devices in memory are connected for it: the content of a device is that of the volume behind it, on the host or
through a session on the NAS. What is written over an overlay belongs to the temp-write volume until it is merged.
"""

from collections.abc import Callable
from typing import Any

from rocks.core.values import BYTES_PER_SECTOR
from rocks.storage.device_mapper.tables import CHUNK_SECTORS, SnapshotMerge
from rocks.storage.iscsi.initiator import LOGGED_IN
from tests.fakes.device_mapper import FakeBlocks
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HostNode, NasNode

ZVOL, VOLUME = "vm-vol", "tank/vm-vol"
CHUNKS = (0, 1, 4)
"""The chunks that the guest writes; the first two are one block of the volume."""

_DEVICE = f"{ZVOL}-snap"
_CHUNK_BYTES = CHUNK_SECTORS * BYTES_PER_SECTOR
_TEXT_BYTES = 8
_PREFIX = "/dev/zvol/"

Content = dict[int, str]


class WaitingError(Exception):
    """The NAS does not export the disk at this moment, so the guest waits."""


def content_of(pools: Any, name: str) -> Content:
    """The guest's chunks of a volume or snapshot."""
    found = {chunk: pools.read(name, _TEXT_BYTES, chunk * _CHUNK_BYTES) for chunk in CHUNKS}
    return {chunk: data.decode().strip("\0 ") for chunk, data in found.items()}


class _Device(dict[int, str]):
    """The chunks of a block device below device-mapper."""

    def __init__(self, host: HostNode, nas: NasNode, path: str) -> None:
        super().__init__()
        self._host, self._nas, self._path = host, nas, path

    def __setitem__(self, chunk: int, text: str) -> None:
        pools, volume = self.place()
        pools.write(volume, text.encode().ljust(_TEXT_BYTES), chunk * _CHUNK_BYTES)

    def get(self, chunk: int, default: Any = "") -> Any:
        return content_of(*self.place())[chunk]

    def place(self) -> tuple[Any, str]:
        """The pools and the volume, or snapshot, that it is of."""
        if self._path.startswith(_PREFIX):
            return self._host.pools, self._path.removeprefix(_PREFIX)
        session = next(one for one in self._host.sessions.read_sessions() if one.device_path == self._path)
        exports = {one.target: one.device_path for one in self._nas.targets.read_exports()}
        if session.state != LOGGED_IN or session.target not in exports:
            raise WaitingError
        return self._nas.pools, exports[session.target].removeprefix(_PREFIX)


class _Contents(dict[str, Any]):
    """Node of a device → its chunks."""

    def __init__(self, device: Callable[[str], _Device]) -> None:
        super().__init__()
        self._device = device

    def __getitem__(self, node: str) -> _Device:
        return self._device(node)


class _Blocks(FakeBlocks):
    """The block devices of a host; the exceptions of a COW are those of its volume, whatever has its name later."""

    def __init__(self, host: HostNode, nas: NasNode) -> None:
        super().__init__(host.length_sectors)
        self._host = host
        self._by_guid: dict[str, dict[int, str]] = {}
        self.contents = _Contents(lambda node: _Device(host, nas, self._paths[node]))

    def exceptions(self, cow: str) -> dict[int, str]:
        fact = self._host.pools.read_volume(self._paths[cow].removeprefix(_PREFIX))
        assert fact is not None, "the temp-write volume of a device is gone"
        return self._by_guid.setdefault(fact.guid, {})

    def read_start(self, path: str, count: int) -> bytes:
        """The header of a temp-write volume, and its first entry, whose new chunk is not 0 when it is used."""
        header = (b"SnAp" + (1).to_bytes(4, "little")).ljust(_CHUNK_BYTES, b"\0")
        is_used = bool(self.exceptions(self.node(path)))
        return (header + bytes(8) + bytes([is_used]).ljust(8, b"\0"))[:count]


class Guest:
    """The guest of one image, on at most one host. `expected` is what it has written last."""

    def __init__(self, site: DrivenSite) -> None:
        self.site = site
        self.host: HostNode | None = None
        self.expected: Content = dict.fromkeys(CHUNKS, "")
        self.former: list[Content] = [dict(self.expected)]
        self._versions = 0
        for host in site.hosts.values():
            blocks = _Blocks(host, site.nas)
            host.kernel.blocks, host.read_start = blocks, blocks.read_start  # type: ignore[method-assign]

    def start(self, host: HostNode) -> bool:
        """Begin to run, where the host has a device that can be read; returns whether it runs."""
        if self.host is None and self._place(host) is not None:
            self.host = host
            try:
                self.read()
            except WaitingError:
                self.host = None
            else:
                self._hold(1)
        return self.host is not None

    def stop(self) -> None:
        if self.host is not None:
            self._hold(-1)
            self.host = None

    def write(self, chunk: int) -> None:
        """Write a new version; without effect while the disk waits."""
        self._versions += 1
        text = f"v{self._versions}"
        try:
            self._write(chunk, text)
        except WaitingError:
            return
        self.expected = {**self.expected, chunk: text}
        self.former.append(self.expected)

    def read(self) -> Content:
        """What it reads. WaitingError while an export is missing."""
        place = self._place(self.host)
        assert place is not None, "the device of a guest is gone"
        if isinstance(place, _Device):
            return content_of(*place.place())
        return {chunk: self.host.kernel.read_chunk(place, chunk) for chunk in CHUNKS}

    def check(self, may_wait: bool = True) -> None:
        """It reads what it has written."""
        if self.host is None:
            return
        try:
            found = self.read()
        except WaitingError:
            assert may_wait, "the guest waits for an export that nobody makes"
            return
        assert found == self.expected, f"the guest reads {found}, and has written {self.expected}"
        device = self.host.dm_devices.read(_DEVICE)
        size = self.site.nas.pools.read_volume(VOLUME).size_bytes
        assert device is None or device.table.length_sectors * BYTES_PER_SECTOR == size

    def merge_one(self) -> None:
        """Every host's kernel merges one chunk."""
        for host in self.site.hosts.values():
            for name, device in host.kernel.devices.items():
                if isinstance(device.table, SnapshotMerge):
                    host.kernel.merge(name, 1)

    def _write(self, chunk: int, text: str) -> None:
        place = self._place(self.host)
        if isinstance(place, _Device):
            place[chunk] = text
        else:
            self.host.kernel.write(place, chunk, text)

    def _place(self, host: Any) -> "str | _Device | None":
        if _DEVICE in host.kernel.devices and host.kernel.devices[_DEVICE].table is not None:
            return f"/dev/mapper/{_DEVICE}"
        writable = [one for one in host.sessions.read_sessions() if not one.is_read_only and one.device_path]
        return _Device(host, self.site.nas, writable[0].device_path) if writable else None

    def _hold(self, change: int) -> None:
        place = self._place(self.host)
        if isinstance(place, str):
            self.host.kernel.devices[_DEVICE].holders += change
        elif place is not None and change > 0:
            self.host.sessions.users[place._path] = "the guest"
        elif place is not None:
            self.host.sessions.users.pop(place._path, None)
