"""The largest partition of a host, for disk images. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNITS = ("KB", "MB", "GB", "TB", "PB")
_SIZE = re.compile(r"\s*([0-9.]+)\s*([KMGTP]B)\s*", re.IGNORECASE)


def largest_partition(partitions: Iterable[tuple[str | None, str | None]]) -> str | None:
    """The mount point of the largest of (mount point, size text such as `102400MB`); None when none is usable.

    A mount point must begin with `/`. Sizes compare by unit first, then by number, as installed hosts report
    them; an unreadable size counts as the smallest.
    """
    usable = [(_weight(size or ""), mount) for mount, size in partitions if mount and mount.startswith("/")]
    return max(usable)[1] if usable else None


def _weight(size: str) -> tuple[int, float]:
    match = _SIZE.fullmatch(size)
    if match is None:
        return (-1, 0.0)
    try:
        return (_UNITS.index(match.group(2).upper()), float(match.group(1)))
    except ValueError:
        return (-1, 0.0)
