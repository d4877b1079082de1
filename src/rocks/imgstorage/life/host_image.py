"""A host's record of one image, and the order of the requests that it accepts; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from rocks.imgstorage.life.facts import Stage
from rocks.imgstorage.life.image import Rejection


@dataclass(frozen=True)
class HostImage:
    """A host's record of one image: its stage, and the values that a rebuild needs.

    `epoch` is the grant under which the stage was recorded; `last_epoch` and `last_sequence` are of the newest request
    that was accepted.
    """

    zvol: str
    pool: Optional[str] = None
    epoch: int = 0
    last_epoch: int = 0
    last_sequence: int = 0
    stage: Stage = "none"
    target: Optional[str] = None
    serial: Optional[str] = None
    size_bytes: int = 0


def check_order(known: HostImage, epoch: int, sequence: int) -> Optional[Rejection]:
    """None when a request may be accepted: not of an older epoch, not overtaken by a newer request.

    A request with the number of the newest is the same one: it continues, or its answer is sent again.
    """
    if (epoch, sequence) >= (known.last_epoch, known.last_sequence):
        return None
    return Rejection(
        "state", f"stale_epoch: {known.zvol}: request {epoch}-{sequence} was overtaken", is_stale=True
    )
