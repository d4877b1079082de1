"""Answers as rows of tables: states, times, rates; pure."""

from __future__ import annotations

import datetime
from typing import Optional, Tuple

from rocks.core.values import BYTES_PER_GIB, duration, rate_text, size_text
from rocks.storage.stream.pace import Progress
from rocks.storage.wire.replies import (
    CopyRow,
    DeviceRow,
    ImageAttributes,
    ImageRow,
    OperationRow,
    SnapshotRow,
)

Cells = Tuple[object, ...]

MAPS = (
    "nas",
    "zvol",
    "zpool",
    "remotehost",
    "remotepool",
    "target",
    "state",
    "time",
    "nextsync",
    "locked",
    "note",
)
DEVICES = (
    "host",
    "volume",
    "sync",
    "target",
    "device",
    "status",
    "size (GB)",
    "block dev",
    "is started",
    "synced",
    "time",
    "note",
)
COPIES = ("host", "volume", "kind", "nas", "size (GB)", "age", "reason")
ATTRIBUTES = ("nas", "attr", "value")
IMAGE_ATTRIBUTES = ("nas", "zvol", "frequency", "nextsync", "uploadspeed", "downloadspeed", "persistent")
SNAPSHOTS = ("nas", "name", "guid", "created", "referenced", "written", "holds")
OPERATIONS = (
    "nas",
    "op",
    "image",
    "host",
    "phase",
    "percent",
    "bytes",
    "rate",
    "eta",
    "action",
    "reason",
)
"""Headers; the rows below have no cell for the first column, the host that answered."""

MAPPED_WORD = "mapped"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_NEW_STATES = ("blocked", "deleting", "restoring", "moving", "growing", "arriving")
"""States for which the specification's states have no name."""


def state_word(row: ImageRow) -> str:
    """The state that existing tools read, by what is queued or transferred; a newer one where none of them applies."""
    if row.state in _NEW_STATES:
        return row.word
    if row.remotehost is None:
        return "unmapped"
    if row.is_delete_remote:
        return "NAS<-VM"
    if row.is_sending is None:
        return MAPPED_WORD
    return "NAS->VM" if row.is_sending else "NAS<-VM sched"


def map_cells(row: ImageRow, now_seconds: int) -> Cells:
    """A row of `list host storagemap`; `now_seconds` is UNIX time."""
    state = state_word(row)
    due = row.nextsync if state == MAPPED_WORD else None
    return (
        row.zvol,
        row.zpool,
        row.remotehost,
        row.remotepool,
        row.iscsi_target,
        state,
        None if row.time is None else duration(now_seconds - row.time),
        None if due is None else weekday_time(due),
        True if row.locked else None,
        map_note(row),
    )


def map_note(row: ImageRow) -> Optional[str]:
    """What an operator should know about an image."""
    if row.due_at is not None:
        moved = "" if row.peer is None else f"moved to {row.peer}; this volume was "
        until = datetime.datetime.fromtimestamp(row.due_at).strftime("%Y-%m-%d %H:%M")
        return f"{moved}removed, can be restored until {until}"
    if row.peer is not None and row.state in ("moving", "arriving"):
        way = f"to {row.peer}" if row.state == "moving" else f"from {row.peer}"
        return f"is being moved {way}{': ' if row.reason else ''}{row.reason}"
    if row.silent_seconds is not None:
        silent = f"{row.remotehost} has been silent for {duration(row.silent_seconds)}"
        return f"{silent}; {row.reason}" if row.reason else silent
    return row.reason or None


def device_cells(volume: str, row: DeviceRow, now_seconds: int) -> Cells:
    """A row of `list host storagedev`."""
    return (
        volume,
        row.sync or None,
        row.target,
        row.device,
        row.status,
        row.size,
        row.bdev,
        True if row.started else None,
        row.synced,
        None if row.time is None else duration(now_seconds - row.time),
        row.note,
    )


def copy_cells(row: CopyRow, now_seconds: int) -> Cells:
    """A row of `list host storagecopy`."""
    age = None if row.created is None else duration(now_seconds - row.created)
    return (row.volume, row.kind, row.nas or None, f"{row.size_bytes / BYTES_PER_GIB:.1f}", age, row.reason)


def image_attribute_cells(row: ImageAttributes) -> Cells:
    """A row of `list host zvolattr`."""
    persistent = "yes" if row.persistent else "no"
    return (row.zvol, row.frequency, row.nextsync, row.uploadspeed, row.downloadspeed, persistent)


def snapshot_cells(row: SnapshotRow) -> Cells:
    """A row of `list host storagesnap`; sizes in bytes."""
    return (row.name, row.guid, row.created, row.referenced_bytes, row.written_bytes, row.holds)


def operation_cells(row: OperationRow) -> Cells:
    """A row of `list host storageop`."""
    return (
        row.op,
        row.image or None,
        row.host,
        row.phase,
        None if row.percent is None else f"{row.percent:.1f}",
        row.bytes,
        None if row.rate is None else rate_text(row.rate),
        None if row.eta is None else duration(row.eta),
        row.action,
        row.reason or None,
    )


def progress_line(row: OperationRow) -> str:
    """The progress of an image for people: `vm-vol: returning 41.5 %, 1.6 GiB, 23.4 MB/s, 0:01:40 left`."""
    parts = []
    if row.percent is not None:
        parts.append(f"{row.percent:.1f} %")
    if row.bytes is not None:
        parts.append(size_text(row.bytes))
    if row.rate is not None:
        parts.append(f"{row.rate / 1e6:.1f} MB/s")
    if row.eta is not None:
        parts.append(f"{duration(row.eta)} left")
    line = f"{row.image}: {row.phase or row.action} {', '.join(parts)}".rstrip()
    return f"{line} ({row.reason})" if row.reason else line


def transfer_line(volume: str, progress: Progress) -> str:
    """The progress of a transfer of this machine."""
    left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
    return f"{volume}: {progress.percent:.1f} %, {rate_text(round(progress.rate))}{left}"


def weekday_time(unix_seconds: int, zone: Optional[datetime.tzinfo] = None) -> str:
    """Weekday hh:mm.ss, for example `Fri 14:05.09`; in the zone, this machine's when None."""
    when = datetime.datetime.fromtimestamp(unix_seconds, zone)
    return f"{_DAYS[when.weekday()]} {when:%H:%M.%S}"
