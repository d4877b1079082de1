"""What a host's deeds must know besides the effect: which image, under which grant, and where its NAS is."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional, Protocol

from rocks.devices.iscsi_target.chap import ChapSecrets
from rocks.imgstorage.model.host_actions import HostImage


class Access(NamedTuple):
    """An image as a host has it, and the way to its NAS.

    `volume` is the image's whole name on the NAS. `known` is the host's record, whose stage a rebuild needs. `spare` is
    what the NAS has said of other images: volume → guid of the snapshot that it has of those which nobody has.
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
    spare: Mapping[str, str] = {}


class Transfers(Protocol):
    """Moves snapshots between this host and an image's NAS: `rocks.imgstorage.perform.transfers`."""

    def receive(self, access: Access, volume: str, base_guid: str) -> None:
        """Have the snapshot of that guid in `volume`, from what both sides have in common."""

    def send(self, access: Access, volume: str, name: str) -> str:
        """Have the NAS receive the snapshot of the local volume, hold it and say so; returns its guid."""
