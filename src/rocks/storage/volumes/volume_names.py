"""Names and sizes of volumes on NASes. Pure. Source: img-storage specification §1.2."""

from __future__ import annotations

import re

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import read_number

LARGEST_VOLUME_GIB = 16 * 1024**2
"""16 PiB, below the limit of ZFS."""

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,200}\Z")


def volume_name(vm: str, number: int) -> str:
    """The volume of a machine's disk: `vm-vc1-0-vol` for number 0, then `vm-vc1-0-vol1` and so on."""
    return f"{vm}-vol{number or ''}"


def removal_command(nas: str, zpool: str, volume: str) -> str:
    """The command that removes an image; with `now=yes` behind it, it cannot be restored for some time either."""
    return f"rocks remove host storageimg {nas} {zpool} {volume}"


def check_volume_name(name: str) -> None:
    """UserError unless `name` is valid for a volume."""
    if not _VOLUME.match(name):
        raise UserError(
            f'volume "{printable(name)}" is not valid: it must be a letter or a digit, then up to 200 letters, digits, '
            "or any of _.:-"
        )


def read_size_gib(text: str) -> int:
    """The size of a volume in GiB. UserError for text that is none."""
    return read_number("size", text, 1, LARGEST_VOLUME_GIB, "GiB")
