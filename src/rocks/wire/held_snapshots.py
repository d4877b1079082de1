"""Tags of the holds by which a NAS keeps snapshots of volumes as parts of a snapshot of a machine. Pure.

The holds are the record: ZFS keeps a held snapshot, and so does the retention of automatic ones.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from rocks.wire.snapshots import FROZEN, MACHINE_OFF, Moment

_BEGIN = "rocks-snapshot"
_TAG = re.compile(
    rf"{_BEGIN}:([A-Za-z0-9][A-Za-z0-9_-]{{0,31}}):(?:([1-9][0-9]?)-of-([1-9][0-9]?)|([a-z]+))\Z"
)


class Tag(NamedTuple):
    """A tag: the snapshot's name, and either the disk's number from 1 and the number of all disks, or the moment.

    `moment` is what the machine was doing, FROZEN or MACHINE_OFF, and empty in a tag with numbers. Without a tag that
    has the moment, the machine ran, and its file systems were not frozen.
    """

    snapshot: str
    number: int = 0
    total: int = 0
    moment: str = ""


def part_tag(snapshot: str, number: int, total: int) -> str:
    """The tag that makes the snapshot of a volume that of disk `number` of `total`."""
    return f"{_BEGIN}:{snapshot}:{number}-of-{total}"


def moment_tag(snapshot: str, moment: Moment) -> str:
    """The tag that states what the machine was doing."""
    return f"{_BEGIN}:{snapshot}:{moment}"


def read_tag(tag: str) -> Optional[Tag]:
    """What the tag states; None for the hold of somebody else."""
    match = _TAG.match(tag)
    if match is None or match[4] not in (None, FROZEN, MACHINE_OFF):
        return None
    return Tag(match[1], int(match[2] or 0), int(match[3] or 0), match[4] or "")
