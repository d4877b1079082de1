"""Sizes of volumes on NASes. Pure."""

from __future__ import annotations

from rocks.core.values import read_number

_LARGEST_GIB = 16 * 1024**2
"""16 PiB, below the limit of ZFS."""


def read_size_gib(text: str) -> int:
    """The size of a volume in GiB. UserError for text that is none."""
    return read_number("size", text, 1, _LARGEST_GIB, "GiB")
