"""Sizes and their names. Memory is recorded in MB of 1024² bytes, disks in GB of 1000³ bytes, on a NAS of 1024³."""

from __future__ import annotations

BYTES_PER_GB = 1000**3
BYTES_PER_GIB = 1024**3
KIB_PER_MB = 1024
BYTES_PER_SECTOR = 512


UNITS = {"MB": 1024**2, "GB": BYTES_PER_GB}
"""The units in which commands take sizes → their bytes."""

_PREFIXES = "KMGT"


def in_unit(text: str, unit: str) -> str:
    """A size as `4G`, `512M` or `1T` as a number of `unit`; other text, and what is no whole number, as it is.

    K, M, G and T are powers of 1024 for MB, as libvirt's sizes of memory, and of 1000 for GB, as those of disks.
    """
    number, prefix = text[:-1], text[-1:].upper()
    if not (number.isascii() and number.isdigit() and prefix and prefix in _PREFIXES):
        return text
    factor = 1024 if unit == "MB" else 1000
    size, rest = divmod(int(number) * factor ** (_PREFIXES.index(prefix) + 1), UNITS[unit])
    return text if rest else str(size)


def size_text(size_bytes: int) -> str:
    """As `gigabytes`; a size below one GB in MB, for example `1.5 MB`."""
    return gigabytes(size_bytes) if size_bytes >= BYTES_PER_GB else f"{size_bytes / 1_000_000:.1f} MB"


def gigabytes(size_bytes: int) -> str:
    """`size_bytes` for a person, in GB with one digit, for example `36.0 GB`."""
    return f"{size_bytes / BYTES_PER_GB:.1f} GB"


def duration(seconds: float) -> str:
    """h:mm:ss; 0:00:00 for a negative duration, which clocks that differ can give."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def rate_text(bytes_per_second: int) -> str:
    """Megabytes per second without a blank, for example `23.4MB/s`."""
    return f"{bytes_per_second / 1e6:.1f}MB/s"
