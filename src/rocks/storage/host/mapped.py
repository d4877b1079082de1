"""Records of the images that this host has, for the agent: a saved guest continues only with the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable

from rocks.fleet.host.records import record_names
from rocks.storage.iscsi_initiator.rules import device_path_of
from rocks.storage.life.names import guest_device
from rocks.storage.mapped_volumes import MappedImage, forget_mapped, write_mapped
from rocks.storage.store.host import CopyRecord


class MappedRecords:
    """The records, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write_all(self, copies: Iterable[CopyRecord]) -> None:
        """Record these images and no others. HostError when that fails."""
        known = list(copies)
        for volume in {*record_names(self._folder)} - {copy.known.zvol for copy in known}:
            forget_mapped(self._folder, volume)
        for copy in known:
            self.write(copy)

    def write(self, copy: CopyRecord) -> None:
        """Record one image as it is, or that the host does not have it. HostError when that fails."""
        known = copy.known
        if known.stage == "none":
            forget_mapped(self._folder, known.zvol)
        else:
            write_mapped(self._folder, known.zvol, MappedImage(_device(copy), copy.image_id, known.epoch))


def _device(copy: CopyRecord) -> str:
    """The path that the guest opens: that of the session's disk for an image that is not copied."""
    known = copy.known
    if known.stage == "remote":
        address, port = copy.details["address"], copy.details["portal_port"]
        return device_path_of(str(known.target), str(address), int(port))
    return f"/dev/mapper/{guest_device(known.zvol)}"
