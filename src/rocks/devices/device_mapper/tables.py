"""Device-mapper tables as records, their text both ways, and what a snapshot says of itself; pure.

Sources: the kernel's Documentation/admin-guide/device-mapper/{linear,snapshot}.rst, and drivers/md/dm-snap.c of 6.1
(snapshot_status) for the words of a snapshot's status.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Callable, NamedTuple, Optional, Tuple, Union

CHUNK_SECTORS = 16
"""8 KiB, of which a snapshot keeps one entry each."""

_USAGE = re.compile(r"(\d+)/(\d+) (\d+)\Z", re.ASCII)
_WORDS = {"Invalid": "invalid", "Merge failed": "merge_failed", "Overflow": "overflow"}


@dataclass(frozen=True)
class Linear:
    """All of a device from its first sector on."""

    length_sectors: int
    device: str


@dataclass(frozen=True)
class Overlay:
    """An origin with what was written since in a second device, `cow`.

    `store` is `PO`: a full COW then refuses writes and keeps what it has. With `P` it loses all.
    """

    length_sectors: int
    origin: str
    cow: str
    chunk_sectors: int = CHUNK_SECTORS
    store: str = "PO"


@dataclass(frozen=True)
class Snapshot(Overlay):
    """Reads from the origin what was not written, writes into the COW."""


@dataclass(frozen=True)
class SnapshotMerge(Overlay):
    """As `Snapshot`, while the kernel moves what is in the COW into the origin."""


@dataclass(frozen=True)
class ErrorTable:
    """A device whose reads and writes all fail, and which holds no other device; a step of `ensure_reactivated`."""

    length_sectors: int


@dataclass(frozen=True)
class OtherTable:
    """A table that is none of ours; `parameters` as the kernel has them."""

    length_sectors: int
    target_type: str
    parameters: str


Table = Union[Linear, Snapshot, SnapshotMerge]
"""What can be asked for."""

KnownTable = Union[Table, ErrorTable, OtherTable]
"""What can be found."""


class SnapshotStatus(NamedTuple):
    """How full a COW is, in sectors of 512 bytes; the figures are 0 unless `state` is `ok`.

    `state`: `ok`; `overflow`: writes are refused, all that was written is there; `invalid`: reads and writes fail, and
    what was written is out of reach until `ensure_reactivated`; `merge_failed`: the merge has stopped, the device
    works; `unknown`: words that this program does not know.
    """

    allocated_sectors: int
    total_sectors: int
    metadata_sectors: int
    state: str

    @property
    def is_merged(self) -> bool:
        """Whether the COW holds nothing but metadata: a merge has moved all of it."""
        return self.state == "ok" and self.allocated_sectors == self.metadata_sectors

    @property
    def fill_ratio(self) -> float:
        """How much of the COW is used, 0 to 1; 1 when it is not `ok`."""
        return (
            self.allocated_sectors / self.total_sectors if self.state == "ok" and self.total_sectors else 1.0
        )


class DmDeviceFact(NamedTuple):
    """A device-mapper device as it is.

    Devices in tables are kernel nodes, as `/dev/zd16` or `/dev/dm-3`, so compare by `is_live` rather than by path.
    `table` is None for one that never got a table; `loaded_table` waits to replace it. `node` is its own kernel node.
    `open_count` counts guests and other mappings alike.
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
    """`stall_seconds` bounds from above how long the device took no requests; 0 when nothing was changed.

    `whole_seconds` is how long the kernel was at it, the old table's end included, while requests flow again.
    """

    changed: bool
    stall_seconds: float
    whole_seconds: float = 0.0


def target_of(table: KnownTable) -> Tuple[str, str]:
    """The target's type and parameters, as DM_TABLE_LOAD takes them."""
    if isinstance(table, Linear):
        return "linear", f"{table.device} 0"
    if isinstance(table, ErrorTable):
        return "error", ""
    if isinstance(table, OtherTable):
        return table.target_type, table.parameters
    kind = "snapshot-merge" if isinstance(table, SnapshotMerge) else "snapshot"
    return kind, f"{table.origin} {table.cow} {table.store} {table.chunk_sectors}"


def parse_table(length_sectors: int, target_type: str, parameters: str) -> KnownTable:
    """The record for what the kernel says; anything else than the tables made here is an `OtherTable`."""
    words = parameters.split()
    if target_type == "linear" and len(words) == 2 and words[1] == "0":
        return Linear(length_sectors, words[0])
    if target_type == "error" and not words:
        return ErrorTable(length_sectors)
    if target_type in ("snapshot", "snapshot-merge") and len(words) == 4:
        origin, cow, store, chunk = words
        if store in ("P", "PO") and chunk.isascii() and chunk.isdigit():
            kind = SnapshotMerge if target_type == "snapshot-merge" else Snapshot
            return kind(length_sectors, origin, cow, int(chunk), store)
    return OtherTable(length_sectors, target_type, parameters)


def parse_status(words: str) -> SnapshotStatus:
    """What a snapshot or snapshot-merge target says, for example `32/73400320 32` or `Merge failed`; raises nothing."""
    usage = _USAGE.match(words.strip())
    if usage is None:
        return SnapshotStatus(0, 0, 0, _WORDS.get(words.strip(), "unknown"))
    allocated, total, metadata = (int(figure) for figure in usage.groups())
    return SnapshotStatus(allocated, total, metadata, "ok")


def with_devices(table: KnownTable, translate: Callable[[str], str]) -> KnownTable:
    """The same table with other names of its devices."""
    if isinstance(table, Linear):
        return replace(table, device=translate(table.device))
    if isinstance(table, Overlay):
        return replace(table, origin=translate(table.origin), cow=translate(table.cow))
    return table


def devices_of(table: KnownTable) -> Tuple[str, ...]:
    """The devices that a table stands on, the one that must be as long as the table first."""
    if isinstance(table, Linear):
        return (table.device,)
    if isinstance(table, Overlay):
        return (table.origin, table.cow)
    return ()


def describe(table: Optional[KnownTable]) -> str:
    """A table in a sentence to an operator."""
    if table is None:
        return "no table"
    return " ".join([f"{table.length_sectors} sectors", *target_of(table)]).rstrip()
