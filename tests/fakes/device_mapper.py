"""Device-mapper in memory: block devices, and a kernel with devices, tables, I/O, merges and failures.

The contract tests run on it and on the kernel.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError
from rocks.fleet.host.change import CHANGED, Change
from rocks.storage.device_mapper.dm_devices import Switch
from rocks.storage.device_mapper.ioctl import (
    ACTIVE_PRESENT_FLAG,
    DEV_CREATE,
    DEV_REMOVE,
    DEV_SUSPEND,
    INACTIVE_PRESENT_FLAG,
    QUERY_INACTIVE_TABLE_FLAG,
    STATUS_TABLE_FLAG,
    SUSPEND_FLAG,
    TABLE_CLEAR,
    TABLE_LOAD,
    Reply,
)
from rocks.storage.device_mapper.tables import (
    CHUNK_SECTORS,
    KnownTable,
    Linear,
    Overlay,
    SnapshotMerge,
    SnapshotStatus,
    Table,
    Target,
    devices_of,
    pieces_of,
    read_targets,
    target_of,
    with_devices,
)

_ENTRIES = 512
"""Exceptions in a metadata chunk: 16 bytes each in 8 KiB."""

_FAILURES = {"invalid": "Invalid", "merge_failed": "Merge failed", "overflow": "Overflow"}
"""State of a snapshot → the kernel's text."""


def _status_text(status: SnapshotStatus) -> str:
    """The text of a status, as the kernel writes it."""
    if status.state == "ok":
        return f"{status.allocated_sectors}/{status.total_sectors} {status.metadata_sectors}"
    return _FAILURES[status.state]


class FakeBlocks:
    """Devices by path, each with a kernel node.

    `find_device` returns the length in sectors of a device of another fake, or None. Exceptions belong to the COW
    device, so they persist when the snapshot is removed.
    """

    def __init__(self, find_device: Callable[[str], int | None] | None = None) -> None:
        self._find = find_device or (lambda path: None)
        self._made = 0
        self._own: dict[str, int] = {}
        self._nodes: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._cows: dict[str, dict[int, str]] = {}
        self.contents: dict[str, dict[int, str]] = {}
        self.invalid: set[str] = set()

    def add(self, path: str, length_sectors: int) -> None:
        """Add an empty device, or change the length of an existing one."""
        self._own[path] = length_sectors

    def remove(self, path: str) -> None:
        """Remove a device with its contents."""
        self._own.pop(path, None)
        node = self._nodes.pop(path, "")
        for entries in (self.contents, self._cows, self._paths):
            entries.pop(node, None)
        self.invalid.discard(node)

    def node(self, path: str) -> str:
        """The kernel node of a device, by path or node. StateError when there is no such device."""
        if path in self._paths or path.startswith("/dev/dm-"):
            return path
        if self._own.get(path, self._find(path)) is None:
            raise StateError(f"this host has no device {path}: No such file or directory")
        if path not in self._nodes:
            self._made += 1
            node = f"/dev/fake{self._made}"
            self._nodes[path], self._paths[node] = node, path
            self.contents[node] = {}
        return self._nodes[path]

    def length(self, node: str) -> int | None:
        """Length of a device in sectors."""
        path = self._paths.get(node, node)
        return self._own.get(path, self._find(path))

    def exceptions(self, cow: str) -> dict[int, str]:
        """Exceptions of a COW: chunk → content."""
        return self._cows.setdefault(cow, {})

    def write_exception(self, cow: str, chunk: int, text: str) -> bool:
        """Write into a COW; False when it is full."""
        exceptions = self.exceptions(cow)
        status = status_of(len(exceptions), self.length(cow) or 0)
        if chunk not in exceptions and status.allocated_sectors + CHUNK_SECTORS > status.total_sectors:
            return False
        exceptions[chunk] = text
        return True


def status_of(exceptions: int, total_sectors: int) -> SnapshotStatus:
    """The status of a COW with this number of exceptions (persistent_usage in dm-snap-persistent.c)."""
    metadata_chunks = exceptions // _ENTRIES + 2
    return SnapshotStatus(
        (metadata_chunks + exceptions) * CHUNK_SECTORS, total_sectors, metadata_chunks * CHUNK_SECTORS, "ok"
    )


# --- the kernel: devices and their tables, I/O, merges, failures -----------------------------------------------------


_MAPPER = "/dev/mapper/"


@dataclass
class FakeDmDevice:
    """A device; its tables name kernel nodes. `state` is that of a snapshot, which a reloaded table inherits."""

    node: str
    uuid: str
    table: KnownTable | None = None
    loaded_table: KnownTable | None = None
    is_suspended: bool = False
    holders: int = 0
    state: str = "ok"
    set_status: SnapshotStatus | None = None


class FakeKernel:
    """Device-mapper of a host, with the devices below in `blocks`; `DmDevices(kernel.open)` has its devices.

    The number of a block device is its node. Content is stored by chunks of 8 KiB: chunk number → text. Tests open a
    device by `devices[name].holders`, prevent its suspension by its name in `restless`, and set its status by
    `devices[name].set_status`. What is not documented here is in `DmKernel`.
    """

    def __init__(self, find_device: Callable[[str], int | None] | None = None) -> None:
        self.blocks = FakeBlocks(find_device)
        self.devices: dict[str, FakeDmDevice] = {}
        self.restless: set[str] = set()

    def open(self) -> AbstractContextManager[FakeKernel]:
        """Device-mapper, opened."""
        return nullcontext(self)

    def call(
        self,
        command: int,
        name: str,
        flags: int = 0,
        uuid: str = "",
        targets: Sequence[Target] = (),
        event: int = 0,
    ) -> Reply:
        """As `DmKernel.call`, for the commands that change a device."""
        if command == DEV_CREATE:
            if name in self.devices:
                raise _error(errno.EBUSY)
            self.add(name, uuid)
        reply, device = self.status(name), self.devices.get(name)
        if reply is None or device is None:
            raise _error(errno.ENXIO)
        if command == DEV_REMOVE:
            if reply.open_count:
                raise _error(errno.EBUSY)
            del self.devices[name]
        elif command == TABLE_LOAD:
            device.loaded_table = read_targets(targets)
        elif command == TABLE_CLEAR:
            device.loaded_table = None
        elif command == DEV_SUSPEND and flags & SUSPEND_FLAG:
            device.is_suspended = True
        elif command == DEV_SUSPEND:
            self._resume(device)
        return reply

    def names(self) -> list[str]:
        return list(self.devices)

    def status(self, name: str) -> Reply | None:
        device = self.devices.get(name)
        if device is None:
            return None
        users = sum(
            device.node in devices_of(table)
            for other in list(self.devices.values())
            for table in {other.table, other.loaded_table}
            if table is not None
        )
        flags = (
            (SUSPEND_FLAG if device.is_suspended else 0)
            | (ACTIVE_PRESENT_FLAG if device.table is not None else 0)
            | (INACTIVE_PRESENT_FLAG if device.loaded_table is not None else 0)
        )
        return Reply(flags, device.holders + users, 0, device.node, device.uuid, b"")

    def targets(self, name: str, flags: int) -> tuple[Target, ...]:
        device = self.devices.get(name)
        if device is None:
            raise _error(errno.ENXIO)
        table = device.loaded_table if flags & QUERY_INACTIVE_TABLE_FLAG else device.table
        if table is None:
            return ()
        kind, parameters = target_of(table)
        if not flags & STATUS_TABLE_FLAG:
            parameters = self._status(device, table)
        return tuple(Target(start, length, kind, parameters) for start, length in pieces_of(table))

    def device_number(self, path: str) -> str:
        device = self.devices.get(path[len(_MAPPER) :]) if path.startswith(_MAPPER) else None
        return self.blocks.node(path) if device is None else device.node

    def node_of(self, number: str) -> str:
        return number

    def length_sectors(self, number: str) -> int:
        device = self._behind(number)
        if device is not None and device.table is not None:
            return device.table.length_sectors
        return self.blocks.length(number) or 0

    def ensure_node(self, name: str, number: str) -> None:
        """As `DmKernel.ensure_node`: there are no links."""

    def ensure_no_node(self, name: str) -> None:
        """As `DmKernel.ensure_no_node`: there are no links."""

    def ensure_valid(self, device: str) -> Change:
        self.blocks.invalid.discard(self.device_number(device))
        return CHANGED

    def prepare_switch(self, name: str) -> AbstractContextManager[Switch]:
        return nullcontext(_Switch(self, name))

    def add(self, name: str, uuid: str = "") -> FakeDmDevice:
        """Add a device without a table."""
        used = {device.node for device in self.devices.values()}
        node = next(f"/dev/dm-{n}" for n in range(len(used) + 1) if f"/dev/dm-{n}" not in used)
        self.devices[name] = FakeDmDevice(node, uuid)
        return self.devices[name]

    def load(self, name: str, table: Table) -> None:
        """Load an inactive table, as a process that dies before its switch."""
        self.devices[name].loaded_table = with_devices(table, self.device_number)

    def write(self, path: str, chunk: int, text: str) -> None:
        """Write a chunk of a block device or device-mapper device. OSError as for a guest."""
        device = self._behind(path)
        if device is None:
            self.blocks.contents[self.device_number(path)][chunk] = text
        elif isinstance(device.table, Linear):
            self.write(device.table.device, chunk, text)
        elif isinstance(device.table, Overlay):
            self._write_over(device, device.table, chunk, text)
        else:
            raise _error(errno.EIO)

    def read_chunk(self, path: str, chunk: int) -> str:
        """The content of a chunk; empty when it was never written."""
        device = self._behind(path)
        if device is None:
            return self.blocks.contents[self.device_number(path)].get(chunk, "")
        if isinstance(device.table, Linear):
            return self.read_chunk(device.table.device, chunk)
        if not isinstance(device.table, Overlay) or device.state == "invalid":
            raise _error(errno.EIO)
        exceptions = self.blocks.exceptions(device.table.cow)
        return exceptions[chunk] if chunk in exceptions else self.read_chunk(device.table.origin, chunk)

    def invalidate(self, name: str) -> None:
        """Invalidate a snapshot, as after a failed read of its origin."""
        device = self.devices[name]
        assert isinstance(device.table, Overlay)
        device.state = "invalid"
        self.blocks.invalid.add(device.table.cow)

    def merge(self, name: str, max_chunks: int | None = None) -> None:
        """Merge this number of chunks, or all."""
        device = self.devices[name]
        assert isinstance(device.table, Overlay)
        exceptions = self.blocks.exceptions(device.table.cow)
        for chunk in sorted(exceptions)[:max_chunks]:
            self.write(device.table.origin, chunk, exceptions[chunk])
            del exceptions[chunk]
        device.set_status = None

    def _resume(self, device: FakeDmDevice) -> None:
        """Activate the loaded table. A snapshot inherits its state, but not that its merge has failed."""
        before, table = device.table, device.loaded_table or device.table
        if device.loaded_table is not None and isinstance(table, Overlay):
            if not isinstance(before, Overlay):
                device.state = "invalid" if table.cow in self.blocks.invalid else "ok"
            elif device.state == "merge_failed":
                device.state = "ok"
        device.table, device.loaded_table, device.is_suspended = table, None, False

    def _write_over(self, device: FakeDmDevice, table: Overlay, chunk: int, text: str) -> None:
        if isinstance(table, SnapshotMerge) and chunk not in self.blocks.exceptions(table.cow):
            self.write(table.origin, chunk, text)  # snapshot_merge_map in drivers/md/dm-snap.c
            return
        if device.state == "ok" and not self.blocks.write_exception(table.cow, chunk, text):
            device.state = "overflow" if table.store == "PO" else "invalid"
            self.blocks.invalid |= {table.cow} if device.state == "invalid" else set()
        if device.state in ("overflow", "invalid"):
            raise _error(errno.EIO)

    def _status(self, device: FakeDmDevice, table: KnownTable) -> str:
        if not isinstance(table, Overlay):
            return ""
        if device.state != "ok":
            return _status_text(SnapshotStatus(0, 0, 0, device.state))
        used = len(self.blocks.exceptions(table.cow))
        return _status_text(device.set_status or status_of(used, self.blocks.length(table.cow) or 0))

    def _behind(self, path: str) -> FakeDmDevice | None:
        node = self.device_number(path)
        return next((device for device in list(self.devices.values()) if device.node == node), None)


class _Switch:
    """A switch that is due; it is aborted while the device is restless."""

    def __init__(self, kernel: FakeKernel, name: str) -> None:
        self._kernel, self._name = kernel, name

    def go(self) -> float | None:
        if self._name in self._kernel.restless:
            return None
        self._kernel.call(DEV_SUSPEND, self._name)
        return 0.004


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
