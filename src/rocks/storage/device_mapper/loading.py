"""Loading of tables: the changing half of `dm_devices.py`."""

from __future__ import annotations

import errno
from typing import Optional, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.errors import BusyError, IncoherentError
from rocks.fleet.host.change import CHANGED, Change
from rocks.storage.device_mapper import nodes
from rocks.storage.device_mapper.facts import read_ours
from rocks.storage.device_mapper.ioctl import (
    DEV_CREATE,
    DEV_REMOVE,
    DEV_SUSPEND,
    READONLY_FLAG,
    TABLE_CLEAR,
    TABLE_LOAD,
    Control,
    Target,
)
from rocks.storage.device_mapper.rules import UUID_PREFIX, not_suspended
from rocks.storage.device_mapper.switch import PreparedSwitch
from rocks.storage.device_mapper.tables import (
    DmDeviceFact,
    KnownTable,
    describe,
    pieces_of,
    target_of,
    with_devices,
)


def create(control: Control, name: str) -> None:
    """Create a device without a table. BusyError when another process creates it."""
    try:
        control.call(DEV_CREATE, name, uuid=UUID_PREFIX + name)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise BusyError(f"another process is creating /dev/mapper/{name}; try again") from None
        raise


def activate(control: Control, name: str, table: KnownTable) -> Change:
    """Load the first table and activate the device; the device is removed when the kernel rejects the table."""
    control.call(TABLE_CLEAR, name)
    try:
        _load(control, name, table)
        reply = control.call(DEV_SUSPEND, name, event=nodes.COOKIE)
    except OSError:
        control.call(DEV_REMOVE, name, event=nodes.COOKIE)
        raise
    nodes.ensure_node(name, reply.number)
    return CHANGED


def resume(control: Control, fact: DmDeviceFact) -> Change:
    """Resume a device with its live table.

    An inactive table is cleared first: a resume would activate it, and a snapshot that is to hand its exceptions over
    to it would not resume alone (snapshot_preresume).
    """
    if fact.loaded_table is not None:
        control.call(TABLE_CLEAR, fact.name)
    if fact.is_suspended:
        control.call(DEV_SUSPEND, fact.name, event=nodes.COOKIE)
    reply = control.status(fact.name)
    if reply is not None:
        nodes.ensure_node(fact.name, reply.number)
    return Change(fact.loaded_table is not None or fact.is_suspended)


def swap(control: Control, fact: DmDeviceFact, table: KnownTable) -> Tuple[float, float]:
    """Replace the live table; returns the duration of the stall and of the whole switch in seconds.

    BusyError as `switch`.
    """
    if fact.loaded_table is not None:
        # the kernel allows one table to wait for the exceptions of another (register_snapshot)
        control.call(TABLE_CLEAR, fact.name)
    try:
        _load(control, fact.name, table)
        with PreparedSwitch(fact.name) as prepared:
            now = read_ours(control, fact.name)
            if now.table != fact.table:
                raise IncoherentError(
                    f"/dev/mapper/{fact.name} has another table now: {describe(now.table)}; nothing was switched"
                )
            began = monotonic_seconds()
            stall = prepared.go()
    except BaseException:
        control.call(TABLE_CLEAR, fact.name)
        raise
    whole = monotonic_seconds() - began
    return _finish(control, fact.name, stall, whole), whole


def remove(control: Control, name: str) -> bool:
    """Remove the device; False when it is open."""
    try:
        control.call(DEV_REMOVE, name, event=nodes.COOKIE)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENXIO):
            raise
        return error.errno == errno.ENXIO
    return True


def _load(control: Control, name: str, table: KnownTable) -> None:
    """Load the inactive table; devices are specified by number, which needs no path lookup.

    The kernel opens devices for writing unless the table is read-only (dm_get_table_device). For a read-only device,
    such as the NAS's disk while its image is copied, the table is loaded read-only.
    """
    kind, parameters = target_of(with_devices(table, nodes.device_number))
    targets = [Target(start, length, kind, parameters) for start, length in pieces_of(table)]
    try:
        control.call(TABLE_LOAD, name, targets=targets)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        control.call(TABLE_LOAD, name, READONLY_FLAG, targets=targets)


def _finish(control: Control, name: str, stall: Optional[float], elapsed_seconds: float) -> float:
    """The stall. After a timeout: BusyError if the old table is still live, else the elapsed time."""
    after = read_ours(control, name)
    if stall is None and after.loaded_table is not None:
        resume(control, after)
        raise not_suspended(name)
    if after.is_suspended:
        resume(control, after)
    return elapsed_seconds if stall is None else stall
