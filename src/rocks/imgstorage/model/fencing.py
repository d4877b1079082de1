"""Who may speak for an image, and whose bytes are taken: by epoch, never by clock or name; pure."""

from __future__ import annotations

from typing import Optional

from rocks.imgstorage.model.image import Image, Refusal
from rocks.imgstorage.model.states import PULLING, RETURNING, SEEDING


def stale_epoch(image: Image, host: str, epoch: int) -> Refusal:
    """The refusal for a host that had the image once."""
    return Refusal(
        "state",
        f"stale_epoch: {host} speaks for epoch {epoch} of ZVol {image.zvol}, which is at epoch {image.epoch}; "
        f"its copy must not be used any more and is to be kept aside",
        is_stale=True,
    )


def check_speaker(image: Image, host: str, epoch: int) -> Optional[Refusal]:
    """None when `host` may report about the image under that epoch."""
    if epoch < image.epoch:
        return stale_epoch(image, host, epoch)
    if epoch > image.epoch or host != image.owner:
        return Refusal("state", f"{host} does not have ZVol {image.zvol}", is_stale=True)
    return None


def check_stream(image: Image, host: str, epoch: int, is_to_nas: bool) -> Optional[Refusal]:
    """None when a transfer between the NAS and `host` may begin, or what it brought may become current.

    Asked before the first byte, and again under the image's lock before a received snapshot counts.
    """
    refusal = check_speaker(image, host, epoch)
    if refusal is not None:
        return refusal
    allowed = (PULLING, RETURNING) if is_to_nas else (SEEDING,)
    if image.state not in allowed or image.work is None or image.work.asked is None:
        return Refusal("state", f"ZVol {image.zvol} is {image.state}: no transfer with {host} is due")
    return None
