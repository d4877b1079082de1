"""The grant of an image as its volume carries it in properties, and whether the NAS's record agrees; pure.

A grant is written to the volume before the host gets the image, so of two grants the one on the volume is the newer: a
record behind it was restored from a copy, or a disk lost a write.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Mapping, Optional

from rocks.storage.image.effects import EnsureGrant, EnsureVolumeGone, Grant
from rocks.storage.image.image import Image, Rejection
from rocks.storage.image.states import BLOCKED, DELETING, MAPPING, PULLING, RETURNING, SEEDING, UNMAPPED

_NOTHING = ("", "none")
_LARGEST_EPOCH_DIGITS = 15

SEQUENCE_GAP = 1_000_000
"""Added to the number of a volume's newest grant when a record is made from it: works that the lost record has numbered
since are overtaken. It is more than one image can use in decades of pauses."""


def read_grant(properties: Mapping[str, str]) -> Grant:
    """The grant in the properties of a volume, without their prefix; an invalid number counts as 0."""
    token = _number(properties.get("token"))
    return Grant(
        epoch=_number(properties.get("epoch")),
        sequence=_number(properties.get("sequence")),
        owner=_text(properties.get("owner")),
        state=properties.get("state", ""),
        base_name=_text(properties.get("base_name")),
        base_guid=_text(properties.get("base_guid")),
        image_id=_text(properties.get("id")) or "",
        initiator=_text(properties.get("initiator")),
        sync=properties.get("sync") != "no",
        remote_pool=_text(properties.get("pool")),
        lease_token=token or None,
        machine=_text(properties.get("machine")) or "",
        persistent={"yes": True, "no": False}.get(properties.get("persistent", "")),
    )


def grant_properties(grant: Grant) -> Dict[str, str]:
    """The properties of a grant, without their prefix."""
    found = {
        "epoch": str(grant.epoch),
        "owner": grant.owner or "none",
        "state": grant.state,
        "base_guid": grant.base_guid or "none",
        "sequence": str(grant.sequence),
        "base_name": grant.base_name or "none",
        "id": grant.image_id,
        "initiator": grant.initiator or "none",
        "sync": "yes" if grant.sync else "no",
        "pool": grant.remote_pool or "none",
        "token": str(grant.lease_token or 0),
        "machine": grant.machine or "none",
    }
    if grant.persistent is not None:
        found["persistent"] = "yes" if grant.persistent else "no"
    return found


def why_refused(grant: EnsureGrant, standing: Grant) -> Optional[str]:
    """Why a volume with the grant `standing` must not get this one; None when it may.

    Within an epoch the owner changes once, from the host that is released to none.
    """
    is_behind = standing.epoch > grant.epoch
    if standing.epoch == grant.epoch:
        is_behind = standing.sequence > grant.sequence or standing.owner not in (grant.owner, grant.replaces)
        is_behind = is_behind or (standing.owner is None and grant.owner is not None)
    return _contradiction(grant.epoch, grant.owner, standing) if is_behind else None


def why_not_destroyed(effect: EnsureVolumeGone, standing: Grant) -> Optional[str]:
    """Why a volume with the grant `standing` must not be destroyed; None when it may."""
    epoch = standing.epoch if effect.epoch is None else effect.epoch
    is_newer = effect.epoch is not None and (standing.epoch, standing.sequence) > (epoch, effect.sequence)
    is_removed = standing.state == DELETING and standing.owner is None
    return None if is_removed and not is_newer else _contradiction(epoch, None, standing)


def disagreement(image: Image, standing: Grant) -> Optional[str]:
    """How a record and its volume contradict each other, with both values; None when they agree.

    A grant that the open step is writing may be on the volume already, or not yet.
    """
    open_effects = () if image.work is None else image.work.open_effects
    pending = [effect for effect in open_effects if isinstance(effect, EnsureGrant)]
    reasons = [
        why_not_destroyed(effect, standing) for effect in open_effects if isinstance(effect, EnsureVolumeGone)
    ]
    if any(reasons):
        return reasons[0]
    if standing.epoch == 0 or any(_is_written(grant, standing) for grant in pending):
        return None
    is_newer = (standing.epoch, standing.sequence) > (image.epoch, image.sequence)
    is_other = standing.epoch == image.epoch and standing.owner != image.owner
    # a map that is aborted before its grant is written, and a restore that failed, use up an epoch of the record only
    was_written = image.owner is not None and MAPPING not in (image.state, image.blocked_from)
    is_older = standing.epoch < image.epoch and was_written and not pending
    if is_newer or is_other or is_older:
        return _contradiction(image.epoch, image.owner, standing)
    return None


def adopted(
    nas: str, pool: str, zvol: str, standing: Grant, new_id: str, volume_guid: Optional[str] = None
) -> Image:
    """The record of an image that a NAS does not know: unmapped, of the volume's epoch, under the id that hosts know.

    The volume is new, was made by other software, or the NAS was reinstalled over its pools. With the guid of its
    volume, no other volume is ever taken for it, and none is made in the place of a lost one. When a host has it, the
    record is blocked, and of no epoch yet: a Retry with the grant asks that host what it has, which may exist nowhere
    else, before anybody gets the image.
    """
    image_id = standing.image_id or new_id
    is_persistent = standing.persistent is not False
    image = Image(
        image_id, nas, pool, zvol, volume_guid=volume_guid, persistent=is_persistent, machine=standing.machine
    )
    if standing.owner is not None:
        reason = f"the NAS has lost its record; the volume says epoch {standing.epoch} ({standing.owner})"
        return replace(image, state=BLOCKED, blocked_from=UNMAPPED, disagrees="volume", reason=reason)
    is_removed = standing.state == DELETING
    if standing.epoch == 0 and not is_removed:
        return image
    image = replace(
        image,
        epoch=standing.epoch,
        sequence=standing.sequence + SEQUENCE_GAP,
        base_name=standing.base_name,
        base_guid=standing.base_guid,
    )
    if is_removed:
        # the end of its grace period is not known, so it waits for an operator
        return replace(image, state=DELETING, reason="it was removed before the NAS lost its records")
    return image


def is_recovering(image: Image) -> bool:
    """Whether the record is being made from the grant on its volume."""
    return image.state == BLOCKED and image.blocked_from is None


def _is_written(grant: EnsureGrant, standing: Grant) -> bool:
    same = (grant.epoch, grant.owner) == (standing.epoch, standing.owner)
    return same and grant.sequence == standing.sequence


def _contradiction(epoch: int, owner: Optional[str], standing: Grant) -> str:
    ours, theirs = _named(epoch, owner), _named(standing.epoch, standing.owner)
    if ours == theirs:
        theirs += f", change {standing.sequence}"
    return f"the NAS's records and the volume contradict each other: {ours} in the records, {theirs} on the volume"


def _named(epoch: int, owner: Optional[str]) -> str:
    return f"epoch {epoch} ({'no host' if owner is None else owner})"


def _number(text: Optional[str]) -> int:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= _LARGEST_EPOCH_DIGITS
    return int(text) if text is not None and is_number else 0


def _text(text: Optional[str]) -> Optional[str]:
    return None if text is None or text in _NOTHING else text


# --- fencing: which host may report about an image and transfer its data ---------------------------------------------


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
