"""The record of an image of which a NAS has none, by what stands in its volume's properties; pure.

A volume is so when it was just made, when somebody else made it, or when the NAS was installed anew over its pools.
"""

from __future__ import annotations

from typing import Mapping, Optional

from rocks.imgstorage.model.image import Image

_NOBODY = ("", "none")


def adopted(nas: str, pool: str, zvol: str, said: Mapping[str, str], new_id: str) -> Image:
    """An image that nobody has, of the epoch in which its volume was last given away.

    `said` has the properties without their prefix, as EnsureLease writes them. A host that had the image by then may
    have changes that nobody else has: no other gets it before they are home or given up.
    """
    owner, epoch = said.get("owner", ""), said.get("epoch", "")
    image = Image(new_id, nas, pool, zvol, epoch=int(epoch) if epoch.isdigit() else 0)
    if owner in _NOBODY:
        return image
    return image.with_copy(owner, "", "dirty", _guid(said.get("base_guid")))


def _guid(text: Optional[str]) -> Optional[str]:
    return None if text in (None, *_NOBODY) else text
