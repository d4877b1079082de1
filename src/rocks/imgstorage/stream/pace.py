"""How fast a transfer may be and how far it is. Time is an argument, so that both can be tried without waiting."""

from __future__ import annotations

import threading
from typing import NamedTuple

_RATE_SECONDS = 10.0
"""Over about how long the rate is averaged."""

_BURST_SECONDS = 0.25


class Bucket:
    """A byte rate that may be changed while it is used, shared by all who send over the same link."""

    def __init__(self, bytes_per_second: float | None = None) -> None:
        """None: as fast as it goes."""
        self._rate = bytes_per_second
        self._free_at: float | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until `end`: a slow transfer that is given up does not sit out its time."""
        if seconds > 0:
            self._ended.wait(seconds)

    def end(self) -> None:
        """Nobody waits any more."""
        self._ended.set()

    def set_rate(self, bytes_per_second: float | None) -> None:
        """From now on; what waits already keeps its time, which is never long."""
        with self._lock:
            self._rate = bytes_per_second

    def take(self, size_bytes: int, now: float) -> float:
        """Account for that many bytes; returns the seconds to wait before they are sent."""
        with self._lock:
            if self._rate is None:
                self._free_at = None
                return 0.0
            # what was not used is kept for a moment only, or a pause would be followed by a flood
            earliest = now - _BURST_SECONDS
            begin = earliest if self._free_at is None else max(self._free_at, earliest)
            self._free_at = begin + size_bytes / self._rate
            return max(0.0, self._free_at - now)


class Progress(NamedTuple):
    """How far a transfer is. `rate` in bytes per second; `seconds_left` None while nobody can say."""

    bytes_done: int
    bytes_total: int
    rate: float
    seconds_left: float | None

    @property
    def percent(self) -> float:
        """Of the estimate, which ZFS makes before it sends: never above 100."""
        return min(100.0, 100.0 * self.bytes_done / self.bytes_total) if self.bytes_total else 0.0


class Meter:
    """Turns counts of bytes into progress."""

    def __init__(self, bytes_total: int, now: float, bytes_before: int = 0) -> None:
        """`bytes_before`: what an earlier attempt has brought, when this one goes on from there."""
        self._total = bytes_total
        self._done = bytes_before
        self._seen_at = now
        self._rate = 0.0
        self._is_first = True

    def add(self, size_bytes: int, now: float) -> Progress:
        """That many bytes more; returns where that leads to."""
        elapsed = max(now - self._seen_at, 1e-6)
        weight = 1.0 if self._is_first else min(1.0, elapsed / _RATE_SECONDS)
        self._rate += weight * (size_bytes / elapsed - self._rate)
        self._is_first = False
        self._seen_at = now
        self._done += size_bytes
        left = max(0, self._total - self._done)
        return Progress(self._done, self._total, self._rate, left / self._rate if self._rate > 0 else None)
