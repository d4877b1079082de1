"""The record of an image that a NAS does not know, from the properties of its volume; pure.

The volume is new, was made by other software, or the NAS was reinstalled over its pools.
"""

from __future__ import annotations

from typing import Mapping, Optional

from rocks.imgstorage.life.image import Image

_NO_OWNER = ("", "none")


def adopted(nas: str, pool: str, zvol: str, properties: Mapping[str, str], new_id: str) -> Image:
    """An unmapped image of the epoch in which its volume was last granted.

    `properties` are without their prefix, as EnsureLease writes them. A host that had the image may have changes that
    exist nowhere else: no other host gets the image before they are written back or given up.
    """
    owner, epoch = properties.get("owner", ""), properties.get("epoch", "")
    image = Image(new_id, nas, pool, zvol, epoch=int(epoch) if epoch.isdigit() else 0)
    if owner in _NO_OWNER:
        return image
    return image.with_copy(owner, "", "dirty", _guid(properties.get("base_guid")))


def _guid(text: Optional[str]) -> Optional[str]:
    return None if text in (None, *_NO_OWNER) else text
