"""Sizes and their names. A disk of the database is in GB of 1000³ bytes, memory in MB of 1024² bytes."""

from __future__ import annotations

BYTES_PER_GB = 1000**3
BYTES_PER_GIB = 1024**3
BYTES_PER_MIB = 1024**2
KIB_PER_MB = 1024
BYTES_PER_SECTOR = 512


def gigabytes(size_bytes: int) -> str:
    """`size_bytes` for a person, in GB with one digit, for example `36.0 GB`."""
    return f"{size_bytes / BYTES_PER_GB:.1f} GB"
