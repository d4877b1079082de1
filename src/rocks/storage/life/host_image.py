"""A host's record of one image, and the order of the requests that it accepts; pure."""

from __future__ import annotations

from typing import Optional

from rocks.core.dataclasses import dataclass
from rocks.core.errors import Code
from rocks.storage.life.facts import Stage
from rocks.storage.life.image import Rejection
from rocks.storage.life.names import guest_device


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


def impossible(zvol: str, request: str, stage: Stage) -> Rejection:
    """The rejection of a request that the image's stage on this host does not allow."""
    return Rejection(
        "incoherent", f"{zvol}: {request} is not possible when it is {stage}", code=Code.HOST_AHEAD
    )


def other_pool(known: HostImage, pool: str) -> Rejection:
    """The rejection of a request for a pool in which this host does not have the image of its grant."""
    text = (
        f"{known.zvol}: this host has it in the pool {known.pool}, not in {pool}: stop its machine, leave only the "
        f"copy in {pool} there (zfs list -t all has both; dmsetup remove {guest_device(known.zvol)} closes the "
        "other), and run systemctl restart rocks-imgstorage-host there"
    )
    return Rejection("incoherent", text, code=Code.HOST_AHEAD)


def number_is_used(zvol: str, epoch: int, sequence: int) -> Rejection:
    """The rejection of a request whose number another request had."""
    text = f"stale_epoch: {zvol}: the number {epoch}-{sequence} was another request's"
    return Rejection("state", text, code=Code.HOST_AHEAD)


def check_order(known: HostImage, epoch: int, sequence: int) -> Optional[Rejection]:
    """None when a request may be accepted: not of an older epoch, not overtaken by a newer request.

    A request with the number of the newest is the same one: it continues, or its answer is sent again.
    """
    if (epoch, sequence) >= (known.last_epoch, known.last_sequence):
        return None
    text = f"stale_epoch: {known.zvol}: request {epoch}-{sequence} was overtaken"
    return Rejection("state", text, is_stale=True, code=Code.HOST_AHEAD)
