"""Which mappings may be asked for, and which table may follow which below a running guest; pure.

Tables given here name their devices by kernel nodes, so that equal devices are equal words.
"""

from __future__ import annotations

import re
from typing import Optional, Union

from rocks.devices.device_mapper.tables import (
    DmDeviceFact,
    ErrorTable,
    KnownTable,
    Linear,
    Overlay,
    Snapshot,
    SnapshotMerge,
    SnapshotStatus,
    Table,
    describe,
    devices_of,
)
from rocks.errors import IncoherentError, RocksError, StateError, UserError

UUID_PREFIX = "ROCKS-"
"""A mapping made here has the UUID `ROCKS-<name>`, and only such a one is ever changed or removed."""

STALL_LIMIT_SECONDS = 0.5
"""When a switch gives up, and the table that was live goes on."""

# DM_NAME_LEN is 128 with the final zero; of the letters, those that udev does not mangle in /dev/mapper
_NAME = re.compile(r"(?!\.)[A-Za-z0-9#+.:=@_-]{1,127}\Z", re.ASCII)
_DEVICE = re.compile(r"/[^\s\\]+\Z")  # the kernel splits a table's words at blanks and takes backslashes away


def check_name(name: str) -> None:
    """UserError unless a mapping can have this name."""
    if not _NAME.match(name) or name == "control" or len(UUID_PREFIX + name) > 128:
        raise UserError(
            f"{name[:40]!r} is no name of a mapping: at most 122 letters, digits and '#+.:=@_-', not '.' first"
        )


def check_table(table: Table) -> None:
    """UserError unless there can be such a table."""
    for device in devices_of(table):
        if not _DEVICE.match(device):
            raise UserError(
                f"{device[:60]!r} is no path of a device: absolute, without blanks or backslashes"
            )
    if table.length_sectors <= 0:
        raise UserError(f"a mapping of {table.length_sectors} sectors cannot be")
    if isinstance(table, Overlay):
        chunk = table.chunk_sectors
        if chunk < 8 or chunk & (chunk - 1):
            raise UserError(f"chunks of {chunk} sectors cannot be: a power of two, at least 8")
        if table.store not in ("P", "PO"):
            raise UserError(f"{table.store!r} is no store of a snapshot: PO or P")


def check_ours(fact: DmDeviceFact) -> None:
    """IncoherentError when the device of that name was made by somebody else."""
    if fact.uuid != UUID_PREFIX + fact.name:
        raise IncoherentError(
            f"/dev/mapper/{fact.name} is not of this system (UUID {fact.uuid or 'none'!s}): see `dmsetup info "
            f"{fact.name}`; remove it if nothing needs it"
        )


def other_table(fact: DmDeviceFact, requested: KnownTable) -> RocksError:
    """The error for a mapping that has another table than the one to be there."""
    if isinstance(fact.table, ErrorTable):
        return StateError(
            f"/dev/mapper/{fact.name} is shut, in the middle of a re-activation: end that first"
        )
    return IncoherentError(
        f"/dev/mapper/{fact.name} has another table: {describe(fact.table)}, and not {describe(requested)}"
    )


def needs_reactivation(fact: DmDeviceFact) -> bool:
    """Whether it is a snapshot that takes no writes any more."""
    return fact.status is not None and fact.status.state in ("overflow", "invalid")


def not_extendable(fact: DmDeviceFact) -> RocksError:
    """The error for a mapping whose table is of no use to load again."""
    if fact.status is None:
        return StateError(f"/dev/mapper/{fact.name} is no snapshot, so it has no COW that could have grown")
    return StateError(
        f"/dev/mapper/{fact.name} is in state {fact.status.state}: pause what uses it, and re-activate it"
    )


def check_reactivation(fact: DmDeviceFact, table: Table) -> Union[Snapshot, SnapshotMerge]:
    """The table, which must be a snapshot's and as long as the mapping."""
    if not isinstance(table, (Snapshot, SnapshotMerge)):
        raise StateError(
            f"only a snapshot is re-activated, and /dev/mapper/{fact.name} is to be {describe(table)}"
        )
    return table


def still_open(fact: DmDeviceFact) -> RocksError:
    """The error for a mapping that cannot go."""
    return StateError(
        f"/dev/mapper/{fact.name} is still open ({fact.open_count} times): stop what uses it first "
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
            f"/dev/mapper/{name} has {live.length_sectors} sectors and would get {requested.length_sectors}: "
            "a guest's disk keeps its size"
        )
    if isinstance(live, Overlay) and isinstance(requested, Overlay):
        _check_hand_over(name, live, requested)
    elif isinstance(live, SnapshotMerge) and isinstance(requested, Linear):
        _check_merged(name, live, requested, status, origin_base)
    elif isinstance(live, Overlay):
        raise IncoherentError(
            f"/dev/mapper/{name} would lose all that was written into {live.cow}: a snapshot is merged first"
        )
    elif not (isinstance(live, Linear) and isinstance(requested, Linear)):
        raise IncoherentError(f"/dev/mapper/{name} cannot go from {describe(live)} to {describe(requested)}")


def _check_hand_over(name: str, live: Overlay, requested: Overlay) -> None:
    """The order that lost 202 of 16,384 blocks without a word is refused here.

    The kernel hands the exceptions of a running snapshot over only to a table of the same origin and COW
    (__find_snapshots_sharing_cow in dm-snap.c). Any other table reads them from the COW when it is loaded, and never
    again.
    """
    for what, has, gets in (("origin", live.origin, requested.origin), ("COW", live.cow, requested.cow)):
        if has != gets:
            raise IncoherentError(
                f"/dev/mapper/{name} stands on the {what} {has} and would get {gets}: such a table knows only what "
                "was written before it is loaded, so every later write would be lost; switch the origin's own "
                "linear mapping instead"
            )
    if (live.chunk_sectors, live.store) != (requested.chunk_sectors, requested.store):
        raise IncoherentError(
            f"/dev/mapper/{name} keeps store {live.store} and chunks of {live.chunk_sectors} sectors while it lives"
        )
    if isinstance(live, SnapshotMerge) and isinstance(requested, Snapshot):
        raise IncoherentError(f"/dev/mapper/{name} is being merged: there is no way back from that")


def _check_merged(
    name: str, live: SnapshotMerge, requested: Linear, status: Optional[SnapshotStatus], origin_base: str
) -> None:
    if requested.device not in (live.origin, origin_base):
        raise IncoherentError(
            f"/dev/mapper/{name} is merged into {origin_base}, so it cannot go on with {requested.device}"
        )
    if status is None or not status.is_merged:
        said = "its status is unknown" if status is None else _how_far(status)
        raise StateError(f"/dev/mapper/{name} is not merged yet ({said}): wait until it is")


def _how_far(status: SnapshotStatus) -> str:
    if status.state != "ok":
        return f"the merge stands still: {status.state}"
    return f"{status.allocated_sectors - status.metadata_sectors} sectors are left"
