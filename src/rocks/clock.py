"""Time: the one place that reads a clock, so that what decides can be given a time instead."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class Deadline:
    """A moment after which waiting ends.

    `seconds` from now; None waits for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining_seconds(self) -> float | None:
        """Seconds left, never negative; None when there is no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether the moment has come."""
        return self._end is not None and time.monotonic() >= self._end


def monotonic_seconds() -> float:
    """A clock for durations; its zero means nothing."""
    return time.monotonic()


def wait_seconds(seconds: float) -> None:
    """Let `seconds` pass."""
    time.sleep(seconds)


def utc_now() -> datetime:
    """The time of day, in UTC and whole seconds; never for measuring, for it may jump."""
    return datetime.now(timezone.utc).replace(microsecond=0)
