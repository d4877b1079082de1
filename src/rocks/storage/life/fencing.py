"""Which host may report about an image and transfer its data: its owner, by epoch and never by a clock; pure."""

from __future__ import annotations

from typing import Optional

from rocks.storage.life.image import Image, Rejection
from rocks.storage.life.states import PULLING, RETURNING, SEEDING


def stale_epoch(image: Image, host: str, epoch: int) -> Rejection:
    """The rejection for a host whose grant was superseded."""
    return Rejection(
        "state",
        f"stale_epoch: {host} has epoch {epoch} of ZVol {image.zvol}, which is at epoch {image.epoch}; "
        f"its copy is obsolete and must be quarantined",
        is_stale=True,
    )


def check_speaker(image: Image, host: str, epoch: int) -> Optional[Rejection]:
    """None when `host` may report about the image under that epoch."""
    if epoch < image.epoch:
        return stale_epoch(image, host, epoch)
    if epoch > image.epoch or host != image.owner:
        return Rejection("state", f"{host} does not have ZVol {image.zvol}", is_stale=True)
    return None


def check_stream(image: Image, host: str, epoch: int, is_to_nas: bool) -> Optional[Rejection]:
    """None when a transfer between the NAS and `host` may begin, or its snapshot may become current.

    Checked before the first byte, and again under the image's lock before a received snapshot counts.
    """
    rejection = check_speaker(image, host, epoch)
    if rejection is not None:
        return rejection
    allowed = (PULLING, RETURNING) if is_to_nas else (SEEDING,)
    if image.state not in allowed or image.work is None or image.work.asked is None:
        return Rejection("state", f"ZVol {image.zvol} is {image.state}: no transfer with {host} is due")
    return None
