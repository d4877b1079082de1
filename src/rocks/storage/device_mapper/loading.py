"""Loading of tables: the changing half of `dm_devices.py`."""

from __future__ import annotations

import errno
from typing import Optional, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import BusyError, IncoherentError
from rocks.fleet.host.change import CHANGED, Change
from rocks.storage.device_mapper.device_nodes import COOKIE
from rocks.storage.device_mapper.driver import DmKernel
from rocks.storage.device_mapper.facts import read_ours
from rocks.storage.device_mapper.ioctl import (
    DEV_CREATE,
    DEV_REMOVE,
    DEV_SUSPEND,
    READONLY_FLAG,
    TABLE_CLEAR,
    TABLE_LOAD,
)
from rocks.storage.device_mapper.rules import UUID_PREFIX, not_suspended
from rocks.storage.device_mapper.tables import (
    DmDeviceFact,
    KnownTable,
    Target,
    describe,
    pieces_of,
    target_of,
    with_devices,
)


def create(kernel: DmKernel, name: str) -> None:
    """Create a device without a table. BusyError when another process creates it."""
    try:
        kernel.call(DEV_CREATE, name, uuid=UUID_PREFIX + name)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise BusyError(f"another process is creating /dev/mapper/{name}; try again") from None
        raise


def activate(kernel: DmKernel, name: str, table: KnownTable) -> Change:
    """Load the first table and activate the device; the device is removed when the kernel rejects the table."""
    kernel.call(TABLE_CLEAR, name)
    try:
        _load(kernel, name, table)
        reply = kernel.call(DEV_SUSPEND, name, event=COOKIE)
    except OSError:
        kernel.call(DEV_REMOVE, name, event=COOKIE)
        raise
    kernel.ensure_node(name, reply.number)
    return CHANGED


def resume(kernel: DmKernel, fact: DmDeviceFact) -> Change:
    """Resume a device with its live table.

    An inactive table is cleared first: a resume would activate it, and a snapshot that is to hand its exceptions over
    to it would not resume alone (snapshot_preresume).
    """
    if fact.loaded_table is not None:
        kernel.call(TABLE_CLEAR, fact.name)
    if fact.is_suspended:
        kernel.call(DEV_SUSPEND, fact.name, event=COOKIE)
    reply = kernel.status(fact.name)
    if reply is not None:
        kernel.ensure_node(fact.name, reply.number)
    return Change(fact.loaded_table is not None or fact.is_suspended)


def swap(kernel: DmKernel, fact: DmDeviceFact, table: KnownTable) -> Tuple[float, float]:
    """Replace the live table; returns the duration of the stall and of the whole switch in seconds.

    BusyError as `switch`.
    """
    if fact.loaded_table is not None:
        # the kernel allows one table to wait for the exceptions of another (register_snapshot)
        kernel.call(TABLE_CLEAR, fact.name)
    try:
        _load(kernel, fact.name, table)
        with kernel.prepare_switch(fact.name) as prepared:
            now = read_ours(kernel, fact.name)
            if now.table != fact.table:
                raise IncoherentError(
                    f"/dev/mapper/{fact.name} has another table now: {describe(now.table)}; nothing was switched"
                )
            began = monotonic_seconds()
            stall = prepared.go()
    except BaseException:
        kernel.call(TABLE_CLEAR, fact.name)
        raise
    whole = monotonic_seconds() - began
    return _finish(kernel, fact.name, stall, whole), whole


def remove(kernel: DmKernel, name: str) -> bool:
    """Remove the device; False when it is open."""
    try:
        kernel.call(DEV_REMOVE, name, event=COOKIE)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENXIO):
            raise
        return error.errno == errno.ENXIO
    return True


def _load(kernel: DmKernel, name: str, table: KnownTable) -> None:
    """Load the inactive table; devices are specified by number, which needs no path lookup.

    The kernel opens devices for writing unless the table is read-only (dm_get_table_device). For a read-only device,
    such as the NAS's disk while its image is copied, the table is loaded read-only.
    """
    kind, parameters = target_of(with_devices(table, kernel.device_number))
    targets = [Target(start, length, kind, parameters) for start, length in pieces_of(table)]
    try:
        kernel.call(TABLE_LOAD, name, targets=targets)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        kernel.call(TABLE_LOAD, name, READONLY_FLAG, targets=targets)


def _finish(kernel: DmKernel, name: str, stall: Optional[float], elapsed_seconds: float) -> float:
    """The stall. After a timeout: BusyError if the old table is still live, else the elapsed time."""
    after = read_ours(kernel, name)
    if stall is None and after.loaded_table is not None:
        resume(kernel, after)
        raise not_suspended(name)
    if after.is_suspended:
        resume(kernel, after)
    return elapsed_seconds if stall is None else stall
