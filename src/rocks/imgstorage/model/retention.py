"""Which automatic snapshots of an image may go: the last few, then hours, then days are kept; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, FrozenSet, Sequence, Set, Tuple

from rocks.imgstorage.model.names import parse_snapshot_name

_HOUR = 3600
_DAY = 86400


@dataclass(frozen=True)
class Kept:
    """How many are kept of the newest, and of hours and days one each."""

    last: int = 3
    hourly: int = 24
    daily: int = 7


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on the NAS."""

    name: str
    guid: str
    createtxg: int
    created_seconds: int
    is_automatic: bool
    has_holds: bool
    has_clones: bool


def may_go(
    snapshots: Sequence[Snapshot], needed_guids: FrozenSet[str], kept: Kept = Kept()
) -> Tuple[Snapshot, ...]:
    """The snapshots that may be destroyed, oldest first.

    Never one that somebody else made, that is held or has clones, that is the newest of all, or whose guid is in
    `needed_guids`: the base, and those of clean copies on hosts. A foreign snapshot neither counts nor protects.
    """
    ordered = sorted(snapshots, key=lambda snapshot: snapshot.createtxg)
    automatic = [one for one in ordered if one.is_automatic and parse_snapshot_name(one.name) is not None]
    keep = {one.guid for one in ordered[-1:]} | _grid(automatic, kept) | needed_guids
    return tuple(
        one for one in automatic if one.guid not in keep and not one.has_holds and not one.has_clones
    )


def _grid(automatic: Sequence[Snapshot], kept: Kept) -> Set[str]:
    keep = {one.guid for one in automatic[-kept.last :]} if kept.last else set()
    for seconds, count in ((_HOUR, kept.hourly), (_DAY, kept.daily)):
        newest: Dict[int, str] = {}
        for one in automatic:
            newest[one.created_seconds // seconds] = one.guid
        keep |= {newest[period] for period in sorted(newest)[-count:]} if count else set()
    return keep
