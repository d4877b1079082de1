"""Device-mapper tables as records, parsed and formatted, and the status of snapshots; pure.

Sources: Documentation/admin-guide/device-mapper/{linear,snapshot}.rst of the kernel, and snapshot_status in
drivers/md/dm-snap.c of 6.1.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Callable, NamedTuple, Optional, Sequence, Tuple, Union

from rocks.core.dataclasses import dataclass

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


def format_status(status: SnapshotStatus) -> str:
    """The text of a status, as `parse_status` reads it."""
    if status.state == "ok":
        return f"{status.allocated_sectors}/{status.total_sectors} {status.metadata_sectors}"
    return next(text for text, state in _STATES.items() if state == status.state)


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
