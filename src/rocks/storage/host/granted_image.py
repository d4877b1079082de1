"""What an effect on a host is about: an image, its grant and the address of its NAS."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional

from rocks.fleet.wire.codec import decode_lenient
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.life.host_image import HostImage
from rocks.storage.store.host import CopyRecord


class GrantedImage(NamedTuple):
    """An image that a host has under a grant, and the address of its NAS.

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


def granted_image(copy: CopyRecord, known: HostImage, epoch: int) -> GrantedImage:
    """The image of a record, as `known`, for a request of that epoch."""
    details = copy.details
    chap = details.get("chap")
    return GrantedImage(
        copy.image_id,
        epoch,
        known,
        str(details["nas"]),
        str(details["volume"]),
        str(details["address"]),
        int(details["portal_port"]),
        int(details["stream_port"]),
        None if chap is None else decode_lenient(ChapSecrets, chap, "chap"),
        details.get("evictable") or {},
    )
