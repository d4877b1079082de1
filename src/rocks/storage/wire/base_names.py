"""Names of base volumes: an image of the library, stored once in a pool of a NAS, of which disks are clones."""

from __future__ import annotations

import re

PREFIX = "library-"
SNAPSHOT = "base"
"""The snapshot that all disks are cloned from. It is made last: a volume without it is no base."""

_BASE = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")


def base_volume(digest: str) -> str:
    """The volume of the image with this digest (64 hexadecimal digits)."""
    return f"{PREFIX}{digest}"


def is_base(zvol: str) -> bool:
    """Whether the name is that of a base volume, which is no image and is never mapped."""
    return _BASE.fullmatch(zvol) is not None


def base_snapshot(digest: str) -> str:
    """The origin of the disks that are made from the image, as VOLUME@SNAPSHOT."""
    return f"{base_volume(digest)}@{SNAPSHOT}"
