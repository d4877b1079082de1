"""What `FakeDmDevices` stands for: the kernel's side of device-mapper, and what guests and others do to it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Callable, Dict, Optional

from rocks.devices.device_mapper.fake.blocks import FakeBlocks, status_of
from rocks.devices.device_mapper.rules import check_name
from rocks.devices.device_mapper.tables import (
    DmDeviceFact,
    KnownTable,
    Linear,
    Overlay,
    SnapshotStatus,
    Table,
    devices_of,
    with_devices,
)

_MAPPER = "/dev/mapper/"


@dataclass
class FakeDmDevice:
    """A mapping; tables name nodes. `state` is that of a snapshot, which a table hands on to the next."""

    node: str
    uuid: str
    table: Optional[KnownTable] = None
    loaded_table: Optional[KnownTable] = None
    is_suspended: bool = False
    holders: int = 0
    state: str = "ok"
    set_status: Optional[SnapshotStatus] = None


class FakeKernel:
    """A host's device-mapper, with the devices below it in `blocks`.

    Content is kept by chunks of a snapshot, 8 KiB each: any text for a chunk's number.
    """

    def __init__(self, find_device: Optional[Callable[[str], Optional[int]]] = None) -> None:
        self.blocks = FakeBlocks(find_device)
        self.devices: Dict[str, FakeDmDevice] = {}

    def read(self, name: str) -> Optional[DmDeviceFact]:
        """As `DmDriver.read`."""
        check_name(name)
        found = self.devices.get(name)
        if found is None:
            return None
        users = sum(
            found.node in devices_of(table)
            for device in self.devices.values()
            for table in {device.table, device.loaded_table} - {None}
            if table is not None
        )
        return DmDeviceFact(
            name,
            found.uuid,
            found.table,
            found.loaded_table,
            found.is_suspended,
            found.holders + users,
            self._status(found),
            found.node,
        )

    def add(self, name: str, uuid: str = "") -> FakeDmDevice:
        """A mapping without a table, as somebody made it."""
        used = {device.node for device in self.devices.values()}
        node = next(f"/dev/dm-{n}" for n in range(len(used) + 1) if f"/dev/dm-{n}" not in used)
        self.devices[name] = FakeDmDevice(node, uuid)
        return self.devices[name]

    def load(self, name: str, table: Table) -> None:
        """Leave a table loaded, as a process does that dies before it switches."""
        self.devices[name].loaded_table = self._with_nodes(table)

    def write(self, path: str, chunk: int, text: str) -> None:
        """Write a chunk of a device or mapping. OSError as a guest gets it."""
        device = self._behind(path)
        if device is None:
            self.blocks.contents[self._node(path)][chunk] = text
        elif isinstance(device.table, Linear):
            self.write(device.table.device, chunk, text)
        elif isinstance(device.table, Overlay):
            self._write_over(device, device.table, chunk, text)
        else:
            raise OSError(errno.EIO, "Input/output error")

    def read_chunk(self, path: str, chunk: int) -> str:
        """What a chunk of a device or mapping holds; nothing when it was never written."""
        device = self._behind(path)
        if device is None:
            return self.blocks.contents[self._node(path)].get(chunk, "")
        if isinstance(device.table, Linear):
            return self.read_chunk(device.table.device, chunk)
        if not isinstance(device.table, Overlay) or device.state == "invalid":
            raise OSError(errno.EIO, "Input/output error")
        exceptions = self.blocks.exceptions(device.table.cow)
        return exceptions[chunk] if chunk in exceptions else self.read_chunk(device.table.origin, chunk)

    def invalidate(self, name: str) -> None:
        """The kernel gives a snapshot up, as after a failed read of its origin."""
        device = self.devices[name]
        assert isinstance(device.table, Overlay)
        device.state = "invalid"
        self.blocks.invalid.add(device.table.cow)

    def merge(self, name: str, most_chunks: Optional[int] = None) -> None:
        """Let a merge go on by so many chunks, or to its end."""
        device = self.devices[name]
        assert isinstance(device.table, Overlay)
        exceptions = self.blocks.exceptions(device.table.cow)
        for chunk in sorted(exceptions)[:most_chunks]:
            self.write(device.table.origin, chunk, exceptions[chunk])
            del exceptions[chunk]
        device.set_status = None

    def _write_over(self, device: FakeDmDevice, table: Overlay, chunk: int, text: str) -> None:
        if device.state == "ok" and not self.blocks.write_exception(table.cow, chunk, text):
            device.state = "overflow" if table.store == "PO" else "invalid"
            self.blocks.invalid |= {table.cow} if device.state == "invalid" else set()
        if device.state in ("overflow", "invalid"):
            raise OSError(errno.EIO, "Input/output error")

    def _status(self, device: FakeDmDevice) -> Optional[SnapshotStatus]:
        if not isinstance(device.table, Overlay):
            return None
        if device.state != "ok":
            return SnapshotStatus(0, 0, 0, device.state)
        cow = device.table.cow
        return device.set_status or status_of(len(self.blocks.exceptions(cow)), self.blocks.length(cow) or 0)

    def _node(self, path: str) -> str:
        device = self.devices.get(path[len(_MAPPER) :]) if path.startswith(_MAPPER) else None
        return self.blocks.node(path) if device is None else device.node

    def _behind(self, path: str) -> Optional[FakeDmDevice]:
        node = self._node(path)
        return next((device for device in self.devices.values() if device.node == node), None)

    def _with_nodes(self, table: Table) -> KnownTable:
        return with_devices(table, self._node)
