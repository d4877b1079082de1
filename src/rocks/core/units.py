"""Sizes and their names. Memory is recorded in MB of 1024² bytes, disks of hosts in GB of 1000³ bytes, as Rocks does.

Volumes of NASes are given in GiB, and what is measured is printed in GiB and MiB, as libvirt and ZFS count: free space,
volumes, copied bytes. GB is 1000³ bytes, only where the size of a disk is compared with a number that is typed in GB.
"""

from __future__ import annotations

import re
from typing import Optional

BYTES_PER_GB = 1000**3
BYTES_PER_GIB = 1024**3
BYTES_PER_MIB = 1024**2
KIB_PER_MB = 1024
BYTES_PER_SECTOR = 512


UNITS = {"MB": (BYTES_PER_MIB, 1024), "GB": (BYTES_PER_GB, 1000), "GiB": (BYTES_PER_GIB, 1024)}
"""The units in which commands take sizes → their bytes, and what K, M, G and T are powers of there."""

_SIZE = re.compile(r"([0-9]{1,18})([KMGT]?)\Z", re.IGNORECASE)


def size_bytes(text: str, base: int = 1024) -> Optional[int]:
    """`500000`, `500K`, `20M`, `1G` or `1T` in bytes; None for other text. K, M, G and T are powers of `base`."""
    match = _SIZE.match(text)
    return None if match is None else int(match[1]) * base ** " KMGT".index(match[2].upper() or " ")


def in_unit(text: str, unit: str) -> str:
    """A size as `4G`, `512M` or `1T` as a number of `unit`; other text, and what is no whole number, as it is."""
    unit_bytes, base = UNITS[unit]
    size = None if text[-1:].isdigit() else size_bytes(text, base)
    return text if size is None or size % unit_bytes else str(size // unit_bytes)


def size_text(size_bytes: int) -> str:
    """What is measured, for a person: `36.0 GiB`; below one GiB in MiB, for example `1.5 MiB`."""
    if size_bytes >= BYTES_PER_GIB:
        return f"{size_bytes / BYTES_PER_GIB:.1f} GiB"
    return f"{size_bytes / BYTES_PER_MIB:.1f} MiB"


def gigabytes(size_bytes: int) -> str:
    """The size of a disk of a host in the unit in which it is given, with one digit, for example `36.0 GB`."""
    return f"{size_bytes / BYTES_PER_GB:.1f} GB"


def duration(seconds: float) -> str:
    """h:mm:ss; 0:00:00 for a negative duration, which clocks that differ can give."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def rate_text(bytes_per_second: int) -> str:
    """Megabytes per second without a blank, for example `23.4MB/s`."""
    return f"{bytes_per_second / 1e6:.1f}MB/s"
