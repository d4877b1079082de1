"""The kernel's side of device-mapper in memory: devices, I/O, merges, failures."""

from __future__ import annotations

import errno
from typing import Callable, Dict, Optional

from rocks.core.dataclasses import dataclass
from rocks.storage.device_mapper.fake.blocks import FakeBlocks, status_of
from rocks.storage.device_mapper.rules import check_name
from rocks.storage.device_mapper.tables import (
    DmDeviceFact,
    KnownTable,
    Linear,
    Overlay,
    SnapshotMerge,
    SnapshotStatus,
    Table,
    devices_of,
    with_devices,
)

_MAPPER = "/dev/mapper/"


@dataclass
class FakeDmDevice:
    """A device; its tables name kernel nodes. `state` is that of a snapshot, which a reloaded table inherits."""

    node: str
    uuid: str
    table: Optional[KnownTable] = None
    loaded_table: Optional[KnownTable] = None
    is_suspended: bool = False
    holders: int = 0
    state: str = "ok"
    set_status: Optional[SnapshotStatus] = None


class FakeKernel:
    """Device-mapper of a host, with the devices below in `blocks`.

    Content is stored by chunks of 8 KiB: chunk number → text.
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
        """Add a device without a table."""
        used = {device.node for device in self.devices.values()}
        node = next(f"/dev/dm-{n}" for n in range(len(used) + 1) if f"/dev/dm-{n}" not in used)
        self.devices[name] = FakeDmDevice(node, uuid)
        return self.devices[name]

    def load(self, name: str, table: Table) -> None:
        """Load an inactive table, as a process that dies before its switch."""
        self.devices[name].loaded_table = self._with_nodes(table)

    def write(self, path: str, chunk: int, text: str) -> None:
        """Write a chunk of a block device or device-mapper device. OSError as for a guest."""
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
        """The content of a chunk; empty when it was never written."""
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
        """Invalidate a snapshot, as after a failed read of its origin."""
        device = self.devices[name]
        assert isinstance(device.table, Overlay)
        device.state = "invalid"
        self.blocks.invalid.add(device.table.cow)

    def merge(self, name: str, max_chunks: Optional[int] = None) -> None:
        """Merge this number of chunks, or all."""
        device = self.devices[name]
        assert isinstance(device.table, Overlay)
        exceptions = self.blocks.exceptions(device.table.cow)
        for chunk in sorted(exceptions)[:max_chunks]:
            self.write(device.table.origin, chunk, exceptions[chunk])
            del exceptions[chunk]
        device.set_status = None

    def _write_over(self, device: FakeDmDevice, table: Overlay, chunk: int, text: str) -> None:
        if isinstance(table, SnapshotMerge) and chunk not in self.blocks.exceptions(table.cow):
            self.write(table.origin, chunk, text)  # snapshot_merge_map in drivers/md/dm-snap.c
            return
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
