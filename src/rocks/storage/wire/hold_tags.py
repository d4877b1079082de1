"""Tags of the holds by which a NAS keeps snapshots of volumes as parts of a snapshot of a machine. Pure.

The holds are the record: ZFS keeps a held snapshot, and so does the retention of automatic ones.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple, Optional

from rocks.fleet.wire.snapshot_names import FROZEN, MACHINE_OFF, Moment

_BEGIN = "rocks-snapshot"
_UNFINISHED = "unfinished"
_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
_NUMBER = "[1-9][0-9]?"
_RUN = "[0-9a-f]{8}"
_TAG = re.compile(
    rf"{_BEGIN}:({_NAME}):(?:({_RUN}):({_NUMBER})-of-({_NUMBER})|({FROZEN}|{MACHINE_OFF}|{_UNFINISHED}))\Z"
)


class Tag(NamedTuple):
    """A tag: the snapshot's name, and either the disk's number from 1 and the number of all disks, or a word.

    `run` is the same for all parts that one command has made: an earlier snapshot had the name, too.
    `word` is empty in a tag with numbers. It is FROZEN or MACHINE_OFF, what the machine was doing; without such a tag
    the machine ran, and its file systems were not frozen. Or it marks a snapshot that is being made: its disks may be
    of different moments, and the mark goes when all have their numbers.
    """

    snapshot: str
    number: int = 0
    total: int = 0
    word: str = ""
    run: str = ""

    @property
    def is_unfinished(self) -> bool:
        """Whether it marks a snapshot that is being made, or was left so."""
        return self.word == _UNFINISHED


def new_run() -> str:
    """The run of a new snapshot: eight hexadecimal digits."""
    return secrets.token_hex(4)


def part_tag(snapshot: str, run: str, number: int, total: int) -> str:
    """The tag that makes the snapshot of a volume that of disk `number` of `total`."""
    return f"{_BEGIN}:{snapshot}:{run}:{number}-of-{total}"


def moment_tag(snapshot: str, moment: Moment) -> str:
    """The tag that states what the machine was doing, FROZEN or MACHINE_OFF."""
    return f"{_BEGIN}:{snapshot}:{moment}"


def unfinished_tag(snapshot: str) -> str:
    """The tag of a snapshot that is being made."""
    return f"{_BEGIN}:{snapshot}:{_UNFINISHED}"


def read_tag(tag: str) -> Optional[Tag]:
    """What the tag states; None for the hold of somebody else."""
    match = _TAG.match(tag)
    if match is None:
        return None
    return Tag(match[1], int(match[3] or 0), int(match[4] or 0), match[5] or "", match[2] or "")
