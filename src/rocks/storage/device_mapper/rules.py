"""Valid names and tables, and which table may replace which below a running guest; pure.

Tables name their devices by kernel nodes, so that equal devices have equal names.
"""

from __future__ import annotations

import re
from typing import Optional, Union

from rocks.core.errors import BusyError, IncoherentError, RocksError, StateError, UserError
from rocks.storage.device_mapper.tables import (
    DmDeviceFact,
    ErrorTable,
    KnownTable,
    Linear,
    Overlay,
    Placeholder,
    Snapshot,
    SnapshotMerge,
    SnapshotStatus,
    Table,
    describe,
    devices_of,
    pieces_of,
)

UUID_PREFIX = "ROCKS-"
"""Devices of this system have the UUID `ROCKS-<name>`; only these are changed or removed."""

STALL_LIMIT_SECONDS = 0.5
"""After this time a switch is aborted, and the live table stays."""

# DM_NAME_LEN is 128 with the final zero; characters that udev does not mangle in /dev/mapper
_NAME = re.compile(r"(?!\.)[A-Za-z0-9#+.:=@_-]{1,127}\Z", re.ASCII)
_DEVICE = re.compile(r"/[^\s\\]+\Z")  # the kernel splits parameters at blanks and removes backslashes


def check_name(name: str) -> None:
    """UserError unless the name is valid."""
    if not _NAME.match(name) or name == "control" or len(UUID_PREFIX + name) > 128:
        raise UserError(
            f"{name[:40]!r} is not a valid name: at most 122 letters, digits and '#+.:=@_-', not '.' first"
        )


def check_table(table: Table) -> None:
    """UserError unless the table is valid."""
    for device in devices_of(table):
        if not _DEVICE.match(device):
            raise UserError(f"{device[:60]!r} is not a device path: absolute, without blanks or backslashes")
    if table.length_sectors <= 0 or any(length <= 0 for _, length in pieces_of(table)):
        raise UserError(f"a table of {table.length_sectors} sectors is not possible")
    if isinstance(table, Overlay):
        chunk = table.chunk_sectors
        if chunk < 8 or chunk & (chunk - 1):
            raise UserError(f"chunks of {chunk} sectors are not possible: a power of two, at least 8")
        if table.store not in ("P", "PO"):
            raise UserError(f"{table.store!r} is not a persistence mode of a snapshot: PO or P")


def check_ours(fact: DmDeviceFact) -> None:
    """IncoherentError when the device is of another origin."""
    if fact.uuid != UUID_PREFIX + fact.name:
        raise IncoherentError(
            f"/dev/mapper/{fact.name} was not created by this system (UUID {fact.uuid or 'none'!s}); see `dmsetup info "
            f"{fact.name}`, and remove it if it is unused"
        )


def other_table(fact: DmDeviceFact, requested: KnownTable) -> RocksError:
    """The error for a device with another live table."""
    if isinstance(fact.table, ErrorTable):
        return StateError(f"/dev/mapper/{fact.name} is being reactivated; complete that first")
    return IncoherentError(
        f"/dev/mapper/{fact.name} has another table: {describe(fact.table)}, not {describe(requested)}"
    )


def needs_reactivation(fact: DmDeviceFact) -> bool:
    """Whether it is a snapshot that no longer accepts writes."""
    return fact.status is not None and fact.status.state in ("overflow", "invalid")


def not_extendable(fact: DmDeviceFact) -> RocksError:
    """The error for a device whose table cannot be reloaded."""
    if fact.status is None:
        return StateError(f"/dev/mapper/{fact.name} is not a snapshot, so it has no COW")
    return StateError(
        f"/dev/mapper/{fact.name} is in state {fact.status.state}: pause its user and reactivate it"
    )


def check_reactivation(fact: DmDeviceFact, table: Table) -> Union[Snapshot, SnapshotMerge]:
    """The table; StateError unless it is that of a snapshot."""
    if not isinstance(table, (Snapshot, SnapshotMerge)):
        raise StateError(
            f"only a snapshot can be reactivated, but the table for /dev/mapper/{fact.name} is {describe(table)}"
        )
    return table


def no_device(name: str) -> RocksError:
    """The error for a missing device."""
    return StateError(f"this host has no /dev/mapper/{name}; create it first")


def not_suspended(name: str) -> RocksError:
    """The error for a switch that was aborted."""
    return BusyError(
        f"/dev/mapper/{name} did not suspend within {STALL_LIMIT_SECONDS:g} s and keeps its table; "
        "try again when its storage responds faster"
    )


def too_short(name: str, path: str, length: int, table: Table) -> RocksError:
    """The error for a device that is shorter than the table."""
    return StateError(
        f"{path} has {length} sectors and /dev/mapper/{name} needs {table.length_sectors} of them"
    )


def shared_cow(cow: str, other: str) -> RocksError:
    """The error for a COW that another device uses."""
    return IncoherentError(f"{cow} is already the COW of /dev/mapper/{other}")


def still_open(fact: DmDeviceFact) -> RocksError:
    """The error for a device that is still open."""
    return StateError(
        f"/dev/mapper/{fact.name} is still open ({fact.open_count} times); stop its users first "
        f"(`dmsetup ls --tree`, `fuser /dev/mapper/{fact.name}`)"
    )


def check_switch(
    name: str, live: KnownTable, requested: KnownTable, status: Optional[SnapshotStatus], origin_base: str
) -> None:
    """IncoherentError or StateError unless `requested` may replace `live` below a running guest.

    `origin_base` is the device that the origin of `live` is linear on, or that origin itself.
    """
    if requested.length_sectors != live.length_sectors:
        raise IncoherentError(
            f"/dev/mapper/{name} has {live.length_sectors} sectors, but the new table {requested.length_sectors}; "
            "a guest's disk keeps its size"
        )
    if isinstance(live, Overlay) and isinstance(requested, Overlay):
        _check_hand_over(name, live, requested)
    elif isinstance(live, SnapshotMerge) and isinstance(requested, Linear):
        _check_merged(name, live, requested, status, origin_base)
    elif isinstance(live, Overlay):
        raise IncoherentError(
            f"/dev/mapper/{name} would lose the data in {live.cow}; merge the snapshot first"
        )
    elif isinstance(live, Placeholder) and isinstance(requested, (Linear, Snapshot)):
        return  # no write to a placeholder has succeeded
    elif not (isinstance(live, Linear) and isinstance(requested, Linear)):
        raise IncoherentError(f"/dev/mapper/{name} cannot go from {describe(live)} to {describe(requested)}")


def _check_hand_over(name: str, live: Overlay, requested: Overlay) -> None:
    """IncoherentError for a switch to another origin or COW, which silently lost 202 of 16,384 blocks in a test.

    The kernel hands the exceptions of a live snapshot over only to a table with the same origin and COW
    (__find_snapshots_sharing_cow in dm-snap.c). Any other table reads them from the COW when it is loaded, but not
    later.
    """
    for what, has, gets in (("origin", live.origin, requested.origin), ("COW", live.cow, requested.cow)):
        if has != gets:
            raise IncoherentError(
                f"/dev/mapper/{name} has the {what} {has}, but the new table {gets}, which would lose all writes after "
                "it is loaded; switch the linear device of the origin instead"
            )
    if (live.chunk_sectors, live.store) != (requested.chunk_sectors, requested.store):
        raise IncoherentError(
            f"/dev/mapper/{name} cannot change its mode {live.store} and chunks of {live.chunk_sectors} sectors"
        )
    if isinstance(live, SnapshotMerge) and isinstance(requested, Snapshot):
        raise IncoherentError(f"/dev/mapper/{name} is being merged, which cannot be reverted")


def _check_merged(
    name: str, live: SnapshotMerge, requested: Linear, status: Optional[SnapshotStatus], origin_base: str
) -> None:
    if requested.device not in (live.origin, origin_base):
        raise IncoherentError(
            f"/dev/mapper/{name} is merged into {origin_base}, so it cannot switch to {requested.device}"
        )
    if status is None or not status.is_merged:
        progress = "its status is unknown" if status is None else _progress(status)
        raise StateError(f"/dev/mapper/{name} is not merged yet ({progress}); wait until it is")


def _progress(status: SnapshotStatus) -> str:
    if status.state != "ok":
        return f"the merge has stopped: {status.state}"
    return f"{status.allocated_sectors - status.metadata_sectors} sectors are left"
