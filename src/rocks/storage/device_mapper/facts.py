"""Device-mapper devices as the kernel reports them: the reading half of `dm_devices.py`."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import Callable, ContextManager, Iterator, Optional, Tuple

from rocks.core.errors import HostError, ToolError
from rocks.storage.device_mapper.driver import DmKernel
from rocks.storage.device_mapper.ioctl import (
    ACTIVE_PRESENT_FLAG,
    INACTIVE_PRESENT_FLAG,
    QUERY_INACTIVE_TABLE_FLAG,
    STATUS_TABLE_FLAG,
    SUSPEND_FLAG,
)
from rocks.storage.device_mapper.rules import (
    UUID_PREFIX,
    check_name,
    check_ours,
    no_device,
    shared_cow,
    too_short,
)
from rocks.storage.device_mapper.tables import (
    DmDeviceFact,
    KnownTable,
    Linear,
    Overlay,
    SnapshotStatus,
    Table,
    devices_of,
    parse_status,
    read_targets,
    with_devices,
)


@contextmanager
def opened(open_kernel: Callable[[], ContextManager[DmKernel]], what: str) -> Iterator[DmKernel]:
    """The kernel, for one operation. HostError without device-mapper; ToolError for errors of the kernel."""
    try:
        opening = open_kernel()
    except FileNotFoundError:
        raise HostError("the kernel of this host has no device-mapper: load its module dm_mod") from None
    except OSError as error:
        raise ToolError(f"device-mapper cannot be opened, so it did not {what}: {error.strerror}") from None
    try:
        with opening as kernel:
            yield kernel
    except OSError as error:
        hint = " (see `dmesg`)" if error.errno == errno.EINVAL else ""
        raise ToolError(f"the kernel of this host did not {what}: {error.strerror}{hint}") from None


def read_device(kernel: DmKernel, name: str) -> Optional[DmDeviceFact]:
    """A device with its tables, or None."""
    try:
        reply = kernel.status(name)
        if reply is None:
            return None
        live = _read_table(kernel, name, 0) if reply.flags & ACTIVE_PRESENT_FLAG else None
        loaded = None
        if reply.flags & INACTIVE_PRESENT_FLAG:
            loaded = _read_table(kernel, name, QUERY_INACTIVE_TABLE_FLAG)
        status = _read_status(kernel, name) if isinstance(live, Overlay) else None
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    suspended = bool(reply.flags & SUSPEND_FLAG)
    node = kernel.node_of(reply.number)
    return DmDeviceFact(name, reply.uuid, live, loaded, suspended, reply.open_count, status, node)


def read_ours(kernel: DmKernel, name: str) -> DmDeviceFact:
    """A device of this system; StateError when it is missing, IncoherentError when it is of another origin."""
    check_name(name)
    fact = read_device(kernel, name)
    if fact is None:
        raise no_device(name)
    check_ours(fact)
    return fact


def read_all_ours(kernel: DmKernel) -> Tuple[DmDeviceFact, ...]:
    """Every device of this system, by name."""
    facts = (read_device(kernel, name) for name in sorted(kernel.names()))
    return tuple(fact for fact in facts if fact is not None and fact.uuid == UUID_PREFIX + fact.name)


def with_kernel_nodes(kernel: DmKernel, table: Table) -> KnownTable:
    """The table with its devices as kernel nodes; StateError when one is missing."""
    return with_devices(table, lambda path: kernel.node_of(kernel.device_number(path)))


def check_devices(kernel: DmKernel, name: str, table: Table) -> None:
    """StateError unless all devices of the table exist and the first is long enough."""
    for place, device in enumerate(devices_of(table)):
        length = kernel.length_sectors(kernel.device_number(device))
        if place == 0 and length < table.length_sectors:
            raise too_short(name, device, length, table)


def check_cow_unshared(kernel: DmKernel, name: str, table: Table) -> None:
    """IncoherentError when another device uses the same COW, which the kernel does not prevent."""
    if not isinstance(table, Overlay):
        return
    cow = kernel.node_of(kernel.device_number(table.cow))
    for fact in read_all_ours(kernel):
        for other in (fact.table, fact.loaded_table):
            if fact.name != name and isinstance(other, Overlay) and other.cow == cow:
                raise shared_cow(table.cow, fact.name)


def base_of_origin(kernel: DmKernel, table: KnownTable) -> str:
    """The device below a snapshot's linear origin, else the origin itself; empty for other tables."""
    if not isinstance(table, Overlay):
        return ""
    for fact in read_all_ours(kernel):
        if fact.node == table.origin and isinstance(fact.table, Linear):
            return fact.table.device
    return table.origin


def _read_table(kernel: DmKernel, name: str, flags: int) -> KnownTable:
    return with_devices(read_targets(kernel.targets(name, flags | STATUS_TABLE_FLAG)), kernel.node_of)


def _read_status(kernel: DmKernel, name: str) -> Optional[SnapshotStatus]:
    rows = kernel.targets(name, 0)
    return parse_status(rows[0].parameters) if len(rows) == 1 else None
