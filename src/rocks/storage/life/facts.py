"""The facts that an effect found, on the NAS or on a host: one flat record, None for facts it did not look for."""

from __future__ import annotations

import dataclasses
from typing import Literal, Optional, Tuple

from rocks.core.dataclasses import dataclass

Stage = Literal["none", "overlay", "merging", "linear", "remote"]
"""The devices that a host must have for an image, and rebuild when it starts:

none    no device (a copy may lie there)
overlay the NAS's disk over iSCSI, read only, under a temp-write volume
merging the local copy under a temp-write volume that is being merged into it
linear  the local copy
remote  the NAS's disk over iSCSI, writable
"""


@dataclass(frozen=True)
class HistoryPoint:
    """A snapshot by guid, and how many bytes were written between the one before and it."""

    guid: str
    written_bytes: int


@dataclass(frozen=True)
class CopyFact:
    """The copy of an image on a host, as found, independent of the records.

    `guid` is that of the copy's newest snapshot, None without a copy; `written_bytes` counts writes since then.
    `free_bytes` is the pool's free space, without the space promised to other images and with that of evictable
    copies; `pool_bytes` its size.
    `epoch` is the one under which the host last had the image, 0 when never.
    """

    stage: Stage = "none"
    epoch: int = 0
    exists: bool = False
    guid: Optional[str] = None
    written_bytes: int = 0
    size_bytes: int = 0
    has_temp_write: bool = False
    free_bytes: int = 0
    pool_bytes: int = 0


@dataclass(frozen=True)
class Facts:
    """The result of an effect or of a host's request; later facts of a step replace earlier ones.

    `size_bytes`, `free_bytes` and `pool_bytes` are of the volume and the pool on the NAS; `base_name` and `base_guid`
    of the snapshot that equals the volume's content; `seed_bytes` the size of a full copy of it; `history` the
    NAS's snapshots, oldest first.
    `guid` is of the snapshot that was sent, received or verified. `has_changes`: a temp-write volume was not
    empty, so nothing was dropped. `obstacles`: clones and holds that prevent the destruction of a volume.
    """

    size_bytes: Optional[int] = None
    volume_guid: Optional[str] = None
    free_bytes: Optional[int] = None
    pool_bytes: Optional[int] = None
    base_name: Optional[str] = None
    base_guid: Optional[str] = None
    seed_bytes: Optional[int] = None
    history: Optional[Tuple[HistoryPoint, ...]] = None
    copy: Optional[CopyFact] = None
    device: Optional[str] = None
    guid: Optional[str] = None
    has_changes: Optional[bool] = None
    obstacles: Optional[Tuple[str, ...]] = None


NOTHING = Facts()
"""The result of an effect without facts."""


def laid_over(below: Facts, above: Facts) -> Facts:
    """Both; the later value where both have one."""
    known = {field.name: getattr(above, field.name) for field in dataclasses.fields(Facts)}
    return dataclasses.replace(below, **{name: value for name, value in known.items() if value is not None})
