"""The context of an effect on a host: the image, its grant and the address of its NAS."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional

from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.life.host_image import HostImage


class Access(NamedTuple):
    """An image on a host, and the address of its NAS.

    `volume` is the image's whole name on the NAS. `known` is the host's record, whose stage a rebuild needs.
    `evictable` maps volumes of unmapped images to the guid of the snapshot that the NAS has of them.
    """

    image_id: str
    epoch: int
    known: HostImage
    nas: str
    volume: str
    address: str
    portal_port: int
    stream_port: int
    chap: Optional[ChapSecrets]
    evictable: Mapping[str, str] = {}
