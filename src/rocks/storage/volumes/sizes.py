"""Sizes of volumes on NASes. Pure."""

from __future__ import annotations

from rocks.core.values import read_number
from rocks.storage.limits import LARGEST_VOLUME_GIB


def read_size_gib(text: str) -> int:
    """The size of a volume in GiB. UserError for text that is none."""
    return read_number("size", text, 1, LARGEST_VOLUME_GIB, "GiB")
