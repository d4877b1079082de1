"""Which automatic snapshots of an image may be destroyed; the last few, then hourly and daily ones stay; pure."""

from __future__ import annotations

from typing import Dict, FrozenSet, Sequence, Set, Tuple

from rocks.core.dataclasses import dataclass
from rocks.storage.life.names import has_automatic_name

LAST_SNAPSHOTS, HOURLY_SNAPSHOTS, DAILY_SNAPSHOTS = 3, 24, 7
"""How many automatic snapshots stay: the newest, and one for each of so many hours and days."""

_HOUR = 3600
_DAY = 86400


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on the NAS."""

    name: str
    guid: str
    createtxg: int
    created_seconds: int
    has_holds: bool
    has_clones: bool


def expired(snapshots: Sequence[Snapshot], needed_guids: FrozenSet[str]) -> Tuple[Snapshot, ...]:
    """The snapshots that may be destroyed, oldest first.

    These always stay: foreign snapshots, snapshots with holds or clones, the newest of all, and those in
    `needed_guids`: the base and the snapshots of clean copies on hosts. Foreign snapshots do not count.
    """
    ordered = sorted(snapshots, key=lambda snapshot: snapshot.createtxg)
    # by its name: a stream has no property that marks automatic snapshots
    automatic = [one for one in ordered if has_automatic_name(one.name)]
    needed = {one.guid for one in ordered[-1:]} | _grid(automatic) | needed_guids
    return tuple(
        one for one in automatic if one.guid not in needed and not one.has_holds and not one.has_clones
    )


def _grid(automatic: Sequence[Snapshot]) -> Set[str]:
    retained = {one.guid for one in automatic[-LAST_SNAPSHOTS:]}
    for seconds, count in ((_HOUR, HOURLY_SNAPSHOTS), (_DAY, DAILY_SNAPSHOTS)):
        newest: Dict[int, str] = {}
        for one in automatic:
            newest[one.created_seconds // seconds] = one.guid
        retained |= {newest[period] for period in sorted(newest)[-count:]}
    return retained
