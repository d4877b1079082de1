"""Device-mapper tables as records, parsed and formatted, and the status of snapshots; pure.

Sources: Documentation/admin-guide/device-mapper/{linear,snapshot}.rst of the kernel, and snapshot_status in
drivers/md/dm-snap.c of 6.1.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Callable, NamedTuple, Optional, Sequence, Tuple, Union

from rocks.core.dataclasses import dataclass
from rocks.core.errors import BusyError, IncoherentError, RocksError, StateError, UserError

CHUNK_SECTORS = 16
"""8 KiB, the unit of a snapshot's exceptions."""

_FIRST_SECTORS = 8
"""The first target of a placeholder."""

_USAGE = re.compile(r"(\d+)/(\d+) (\d+)\Z", re.ASCII)
_STATES = {"Invalid": "invalid", "Merge failed": "merge_failed", "Overflow": "overflow"}


@dataclass(frozen=True)
class Linear:
    """A device from its first sector."""

    length_sectors: int
    device: str


@dataclass(frozen=True)
class Overlay:
    """An origin and the changes to it in a second device, `cow`.

    `store`: with `PO` a full COW rejects writes and keeps its data (overflow); with `P` the snapshot becomes invalid.
    """

    length_sectors: int
    origin: str
    cow: str
    chunk_sectors: int = CHUNK_SECTORS
    store: str = "PO"


@dataclass(frozen=True)
class Snapshot(Overlay):
    """Reads unchanged chunks from the origin, writes into the COW."""


@dataclass(frozen=True)
class SnapshotMerge(Overlay):
    """As `Snapshot`, while the kernel merges the COW into the origin."""


@dataclass(frozen=True)
class ErrorTable:
    """The error target: all I/O fails, and no device is open; used by `ensure_reactivated`."""

    length_sectors: int


@dataclass(frozen=True)
class Placeholder:
    """A guest's device whose content is elsewhere yet: all I/O fails. Two error targets, so it is no `ErrorTable`."""

    length_sectors: int


@dataclass(frozen=True)
class OtherTable:
    """Any other table; `parameters` as reported by the kernel."""

    length_sectors: int
    target_type: str
    parameters: str


Table = Union[Linear, Snapshot, SnapshotMerge, Placeholder]
"""Tables that can be requested."""

KnownTable = Union[Table, ErrorTable, OtherTable]
"""Tables that can be found."""


class Target(NamedTuple):
    """A target of a table; `parameters` is its status when the status was requested."""

    start_sector: int
    length_sectors: int
    target_type: str
    parameters: str


class SnapshotStatus(NamedTuple):
    """Usage of a COW in sectors of 512 bytes; 0 unless `state` is `ok`.

    `state`: `ok`; `overflow`: writes fail, all data is readable; `invalid`: all I/O fails, and the data is inaccessible
    until `ensure_reactivated`; `merge_failed`: the merge has stopped, the device works; `unknown`: any other status.
    """

    allocated_sectors: int
    total_sectors: int
    metadata_sectors: int
    state: str

    @property
    def is_merged(self) -> bool:
        """Whether the COW contains only metadata: the merge is complete."""
        return self.state == "ok" and self.allocated_sectors == self.metadata_sectors


class DmDeviceFact(NamedTuple):
    """A device-mapper device.

    Devices in tables are kernel nodes, as `/dev/zd16` or `/dev/dm-3`, so compare by `is_live` rather than by path.
    `table` is None for a device without a table; `loaded_table` is the inactive table. `node` is its own kernel node.
    `open_count` includes guests and other devices.
    """

    name: str
    uuid: str
    table: Optional[KnownTable]
    loaded_table: Optional[KnownTable]
    is_suspended: bool
    open_count: int
    status: Optional[SnapshotStatus]
    node: str


class Switched(NamedTuple):
    """`stall_seconds`: upper bound of the time without I/O; 0 when nothing was changed.

    `whole_seconds`: duration of the ioctl, including the destruction of the old table, while I/O continues.
    """

    changed: bool
    stall_seconds: float
    whole_seconds: float = 0.0


def target_of(table: KnownTable) -> Tuple[str, str]:
    """Target type and parameters for DM_TABLE_LOAD."""
    if isinstance(table, Linear):
        return "linear", f"{table.device} 0"
    if isinstance(table, (ErrorTable, Placeholder)):
        return "error", ""
    if isinstance(table, OtherTable):
        return table.target_type, table.parameters
    kind = "snapshot-merge" if isinstance(table, SnapshotMerge) else "snapshot"
    return kind, f"{table.origin} {table.cow} {table.store} {table.chunk_sectors}"


def pieces_of(table: KnownTable) -> Tuple[Tuple[int, int], ...]:
    """First sector and length of each target."""
    length = table.length_sectors
    if isinstance(table, Placeholder):
        return ((0, _FIRST_SECTORS), (_FIRST_SECTORS, length - _FIRST_SECTORS))
    return ((0, length),)


def parse_table(length_sectors: int, target_type: str, parameters: str) -> KnownTable:
    """The record of a table; a table of any other form is an `OtherTable`."""
    fields = parameters.split()
    if target_type == "linear" and len(fields) == 2 and fields[1] == "0":
        return Linear(length_sectors, fields[0])
    if target_type == "error" and not fields:
        return ErrorTable(length_sectors)
    if target_type in ("snapshot", "snapshot-merge") and len(fields) == 4:
        origin, cow, store, chunk = fields
        if store in ("P", "PO") and chunk.isascii() and chunk.isdigit():
            kind = SnapshotMerge if target_type == "snapshot-merge" else Snapshot
            return kind(length_sectors, origin, cow, int(chunk), store)
    return OtherTable(length_sectors, target_type, parameters)


def parse_status(text: str) -> SnapshotStatus:
    """The status of a snapshot or snapshot-merge target, such as `32/73400320 32` or `Merge failed`; raises nothing."""
    usage = _USAGE.match(text.strip())
    if usage is None:
        return SnapshotStatus(0, 0, 0, _STATES.get(text.strip(), "unknown"))
    allocated, total, metadata = (int(figure) for figure in usage.groups())
    return SnapshotStatus(allocated, total, metadata, "ok")


def read_targets(targets: Sequence[Target]) -> KnownTable:
    """The record of a table of one target or several."""
    if len(targets) == 1:
        return parse_table(targets[0].length_sectors, targets[0].target_type, targets[0].parameters)
    length = sum(target.length_sectors for target in targets)
    if [target.target_type for target in targets] == ["error", "error"]:
        return Placeholder(length)
    return OtherTable(length, "several", ", ".join(f"{it.target_type} {it.parameters}" for it in targets))


def with_devices(table: KnownTable, translate: Callable[[str], str]) -> KnownTable:
    """The table with translated device names."""
    if isinstance(table, Linear):
        return replace(table, device=translate(table.device))
    if isinstance(table, Overlay):
        return replace(table, origin=translate(table.origin), cow=translate(table.cow))
    return table


def devices_of(table: KnownTable) -> Tuple[str, ...]:
    """The devices of a table; the first must be as long as the table."""
    if isinstance(table, Linear):
        return (table.device,)
    return (table.origin, table.cow) if isinstance(table, Overlay) else ()


def describe(table: Optional[KnownTable]) -> str:
    """A table as text for messages."""
    if table is None:
        return "no table"
    return " ".join([f"{table.length_sectors} sectors", *target_of(table)]).rstrip()


# --- valid names and tables, and which table may replace which below a running guest ---------------------------------
# Tables name their devices by kernel nodes, so that equal devices have equal names.


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
