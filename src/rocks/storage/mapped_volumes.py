"""The images of NASes that this host has: the image daemon keeps a record of each, the agent reads them.

A record is removed before its image leaves the host, and an image that comes back has another epoch: as long as the
record is the same, only the guest has written to the device.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, NamedTuple

from rocks.core.files import write_file
from rocks.fleet.host.state_folder import (
    Place,
    RecordKind,
    damaged,
    ensure_folder,
    read_json_record,
    record_names,
    remove_record,
)

_KIND = RecordKind(
    "the record of an image of a NAS",
    "`systemctl restart rocks-imgstorage-host` on this host writes it again",
)


class MappedImage(NamedTuple):
    """An image on this host: the path that its guest opens, and the grant under which the host has it."""

    device: str
    image_id: str
    epoch: int


def write_mapped(folder: Path, volume: str, image: MappedImage) -> None:
    """Record that this host has an image. HostError when that fails."""
    write_file(ensure_folder(folder) / volume, json.dumps(image._asdict()) + "\n")


def forget_mapped(folder: Path, volume: str) -> None:
    """Record that this host does not have the image. HostError when that fails."""
    remove_record(folder / volume)


def mapped_images(state_folder: Path) -> Dict[str, MappedImage]:
    """Device → its image. IncoherentError for a damaged record."""
    folder = Place.MAPPED.below(state_folder)
    found = {}
    for name in record_names(folder):
        value = read_json_record(folder / name, _KIND)
        try:
            image = MappedImage(str(value["device"]), str(value["image_id"]), int(value["epoch"]))
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(folder / name, _KIND, repr(error)) from None
        found[image.device] = image
    return found
