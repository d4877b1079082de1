"""The gateway to clocks. Code that decides gets the time as an argument."""

from __future__ import annotations

import time
from datetime import datetime, timezone

_TIME_ERROR = 5
_TIMEX_BYTES = 512  # more than struct timex of any architecture


class Deadline:
    """The end of a wait, `seconds` from now; None waits for ever."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining_seconds(self) -> float | None:
        """Seconds left, never negative; None when there is no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether the moment has come."""
        return self._end is not None and time.monotonic() >= self._end


def monotonic_seconds() -> float:
    """A clock for durations; its zero is arbitrary."""
    return time.monotonic()


def wait_seconds(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def utc_now() -> datetime:
    """The time of day, in UTC and whole seconds; not for durations, since it may jump."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def is_synchronised() -> bool:
    """Whether the kernel's clock follows a time server (adjtimex(2) does not return TIME_ERROR)."""
    import ctypes

    request = ctypes.create_string_buffer(_TIMEX_BYTES)  # all zero: it only asks
    return int(ctypes.CDLL(None).adjtimex(request)) not in (_TIME_ERROR, -1)
