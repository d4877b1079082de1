"""The record of an image that a NAS does not know, from the grant on its volume; pure.

The volume is new, was made by other software, or the NAS was reinstalled over its pools.
"""

from __future__ import annotations

from typing import Optional

from rocks.storage.life.grants import SEQUENCE_GAP, Grant
from rocks.storage.life.image import Image
from rocks.storage.life.states import BLOCKED, DELETING, UNMAPPED


def adopted(
    nas: str, pool: str, zvol: str, standing: Grant, new_id: str, volume_guid: Optional[str] = None
) -> Image:
    """An unmapped image of the epoch in which its volume was last granted, under the id that hosts know.

    With the guid of its volume, no other volume is ever taken for it, and none is made in the place of a lost one.
    When a host has it, the record is blocked, and of no epoch yet: a Retry with the grant asks that host what it has,
    which may exist nowhere else, before anybody gets the image.
    """
    image_id = standing.image_id or new_id
    image = Image(image_id, nas, pool, zvol, machine=standing.machine, volume_guid=volume_guid)
    if standing.owner is not None:
        reason = f"the NAS has lost its record; the volume says epoch {standing.epoch} ({standing.owner})"
        return Image(
            image.image_id,
            nas,
            pool,
            zvol,
            BLOCKED,
            blocked_from=UNMAPPED,
            disagrees="volume",
            reason=reason,
            machine=standing.machine,
            volume_guid=volume_guid,
        )
    if standing.epoch == 0 and standing.state != DELETING:
        return image
    # removed; the end of its grace period is not known, so it waits for an operator
    is_removed = standing.state == DELETING
    return Image(
        image.image_id,
        nas,
        pool,
        zvol,
        DELETING if is_removed else UNMAPPED,
        reason="it was removed before the NAS lost its records" if is_removed else "",
        epoch=standing.epoch,
        sequence=standing.sequence + SEQUENCE_GAP,
        base_name=standing.base_name,
        base_guid=standing.base_guid,
        machine=standing.machine,
        volume_guid=volume_guid,
    )
