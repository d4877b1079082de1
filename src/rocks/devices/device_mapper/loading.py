"""Tables put into mappings: the changing half of `devices.py`."""

from __future__ import annotations

import errno
from typing import Optional, Tuple

from rocks.clock import monotonic_seconds
from rocks.devices.change import CHANGED, Change
from rocks.devices.device_mapper import nodes
from rocks.devices.device_mapper.facts import read_ours
from rocks.devices.device_mapper.ioctl import (
    DEV_CREATE,
    DEV_REMOVE,
    DEV_SUSPEND,
    READONLY_FLAG,
    TABLE_CLEAR,
    TABLE_LOAD,
    Control,
    Target,
)
from rocks.devices.device_mapper.rules import STALL_LIMIT_SECONDS, UUID_PREFIX
from rocks.devices.device_mapper.switch import PreparedSwitch
from rocks.devices.device_mapper.tables import DmDeviceFact, KnownTable, describe, target_of, with_devices
from rocks.errors import BusyError, IncoherentError


def create(control: Control, name: str) -> None:
    """A mapping without a table. BusyError when somebody makes it just now."""
    try:
        control.ask(DEV_CREATE, name, uuid=UUID_PREFIX + name)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise BusyError(f"somebody else makes /dev/mapper/{name} just now") from None
        raise


def activate(control: Control, name: str, table: KnownTable) -> Change:
    """Give a mapping its first table and let it run; the mapping goes again when the kernel does not take the table."""
    control.ask(TABLE_CLEAR, name)
    try:
        _load(control, name, table)
        reply = control.ask(DEV_SUSPEND, name, event=nodes.COOKIE)
    except OSError:
        control.ask(DEV_REMOVE, name, event=nodes.COOKIE)
        raise
    nodes.ensure_node(name, reply.number)
    return CHANGED


def resume(control: Control, fact: DmDeviceFact) -> Change:
    """Let a mapping run with the table that it has.

    A loaded table is cleared before: resuming would swap it in, and a snapshot that was to hand its exceptions over to
    it would refuse to go on alone (snapshot_preresume).
    """
    if fact.loaded_table is not None:
        control.ask(TABLE_CLEAR, fact.name)
    if fact.is_suspended:
        control.ask(DEV_SUSPEND, fact.name, event=nodes.COOKIE)
    reply = control.status(fact.name)
    if reply is not None:
        nodes.ensure_node(fact.name, reply.number)
    return Change(fact.loaded_table is not None or fact.is_suspended)


def swap(control: Control, fact: DmDeviceFact, table: KnownTable) -> Tuple[float, float]:
    """Put a table in the place of the live one; returns the seconds of the stall, and of the whole.

    BusyError when given up, as `switch`.
    """
    if fact.loaded_table is not None:
        # of two tables that wait for the exceptions of a third, the kernel refuses the second (register_snapshot)
        control.ask(TABLE_CLEAR, fact.name)
    try:
        _load(control, fact.name, table)
        with PreparedSwitch(fact.name) as prepared:
            now = read_ours(control, fact.name)
            if now.table != fact.table:
                raise IncoherentError(
                    f"/dev/mapper/{fact.name} got another table meanwhile: {describe(now.table)}; nothing was switched"
                )
            began = monotonic_seconds()
            stall = prepared.go()
    except BaseException:
        control.ask(TABLE_CLEAR, fact.name)
        raise
    whole = monotonic_seconds() - began
    return _judge(control, fact.name, stall, whole), whole


def remove(control: Control, name: str) -> bool:
    """Whether the mapping is gone; False when it is open."""
    try:
        control.ask(DEV_REMOVE, name, event=nodes.COOKIE)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENXIO):
            raise
        return error.errno == errno.ENXIO
    return True


def _load(control: Control, name: str, table: KnownTable) -> None:
    """Into the place of the table that waits; devices are named by number, which the kernel looks up nowhere.

    A device that may not be written, as the NAS's disk while its image is copied, is mapped read only: the kernel
    opens what a table names for writing unless it is told otherwise (dm_get_table_device).
    """
    kind, parameters = target_of(with_devices(table, nodes.device_number))
    target = Target(0, table.length_sectors, kind, parameters)
    try:
        control.ask(TABLE_LOAD, name, target=target)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        control.ask(TABLE_LOAD, name, READONLY_FLAG, target=target)


def _judge(control: Control, name: str, stall: Optional[float], elapsed_seconds: float) -> float:
    """The stall; when the switch was given up, which table the kernel's last moment left live."""
    after = read_ours(control, name)
    if stall is None and after.loaded_table is not None:
        resume(control, after)
        raise BusyError(
            f"/dev/mapper/{name} did not come to rest within {STALL_LIMIT_SECONDS:g} s, so it goes on as it was: "
            "switch again when its storage answers faster"
        )
    if after.is_suspended:
        resume(control, after)
    return elapsed_seconds if stall is None else stall
