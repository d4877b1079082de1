"""When a silent host counts as lost; pure. It is only shown: a host that is silent may still run its guests."""

from __future__ import annotations

from typing import Optional

from rocks.storage.limits import LOST_SECONDS


def lost_seconds(is_expected: bool, silent_seconds: float) -> Optional[float]:
    """The silence of a host that counts as lost; None for one that is there, or has never sent heartbeats."""
    return silent_seconds if is_expected and silent_seconds >= LOST_SECONDS else None
