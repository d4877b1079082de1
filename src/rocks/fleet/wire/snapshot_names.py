"""Names of snapshots and of their files: copies of a machine's disks beside them, which bear the machine's UUID."""

from __future__ import annotations

import re
from typing import Iterable, List, Literal, NamedTuple, Optional, Tuple

from rocks.core.errors import StateError, UserError

_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
_COPY = re.compile(rf"(/.+)\.snapshot\.({_NAME})\.([1-9][0-9]?)-of-([1-9][0-9]?)\Z")

Moment = Literal["frozen", "running", "off"]
"""What a machine was doing when its disks were copied: it ran with frozen file systems, it ran, or it was off."""

FROZEN: Moment = "frozen"
NOT_FROZEN: Moment = "running"
MACHINE_OFF: Moment = "off"


class Copy(NamedTuple):
    """The file of a snapshot: the path of its disk, the snapshot's name, its number from 1, the number of all."""

    disk: str
    snapshot: str
    number: int
    total: int


def check_snapshot_name(name: str) -> str:
    """The name. UserError unless it can be a part of a file's name."""
    if re.fullmatch(_NAME, name) is None:
        raise UserError(
            f'"{name[:60]}" cannot name a snapshot: letters, digits, - and _ only, at most 32, a letter or digit first'
        )
    return name


def snapshot_exists_error(vm: str, name: str) -> StateError:
    """The error of a machine that has a complete snapshot of that name."""
    return StateError(
        f"{vm} has a snapshot {name} already, which is complete, also if the command that made it was interrupted; "
        f"rocks remove host vm snapshot {vm} {name} removes it"
    )


def copy_paths(disks: Iterable[str], snapshot: str) -> Tuple[str, ...]:
    """The files of a snapshot of these disks, in their order."""
    paths = list(disks)
    return tuple(
        f"{path}.snapshot.{snapshot}.{number}-of-{len(paths)}" for number, path in enumerate(paths, start=1)
    )


def read_copy(path: str) -> Optional[Copy]:
    """What the file is; None for one that belongs to no snapshot."""
    match = _COPY.match(path)
    return None if match is None else Copy(match[1], match[2], int(match[3]), int(match[4]))


def is_complete(copies: List[Copy]) -> bool:
    """Whether these files of one snapshot are all of it."""
    return {copy.number for copy in copies} == set(range(1, copies[0].total + 1)) if copies else False
