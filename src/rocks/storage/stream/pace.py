"""The rate limit and the progress of a transfer. Time is an argument, so that tests need not wait."""

from __future__ import annotations

import threading
from typing import NamedTuple

_RATE_SECONDS = 10.0
"""Period over which the rate is averaged, approximately."""

_FULL_SECONDS = 1.0
"""What is sent before that fills buffers, and says nothing of the rate."""

_BURST_SECONDS = 0.25


class Bucket:
    """A limit in bytes per second, which may change at any time; all senders of a link share it."""

    def __init__(self, bytes_per_second: float | None = None) -> None:
        """None: no limit."""
        self._rate = bytes_per_second
        self._free_at: float | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until `end`, so that a cancelled slow transfer ends at once."""
        if seconds > 0:
            self._ended.wait(seconds)

    def end(self) -> None:
        """End all waits."""
        self._ended.set()

    def set_rate(self, bytes_per_second: float | None) -> None:
        """Set the limit; waits in progress, which are short, keep their time."""
        with self._lock:
            self._rate = bytes_per_second

    def take(self, size_bytes: int, now: float) -> float:
        """Count the bytes; returns the seconds to wait before sending them."""
        with self._lock:
            if self._rate is None:
                self._free_at = None
                return 0.0
            # an unused allowance expires quickly, or a burst would follow each pause
            earliest = now - _BURST_SECONDS
            begin = earliest if self._free_at is None else max(self._free_at, earliest)
            self._free_at = begin + size_bytes / self._rate
            return max(0.0, self._free_at - now)


class Progress(NamedTuple):
    """The progress of a transfer. `rate` in bytes per second, 0 and `seconds_left` None while they are unknown."""

    bytes_done: int
    bytes_total: int
    rate: float
    seconds_left: float | None

    @property
    def percent(self) -> float:
        """Share of the size that ZFS estimated before sending: at most 100."""
        return min(100.0, 100.0 * self.bytes_done / self.bytes_total) if self.bytes_total else 0.0


class Meter:
    """Computes the progress from counts of bytes."""

    def __init__(self, bytes_total: int, now: float) -> None:
        self._total = bytes_total
        self._done = 0
        self._began_at = self._counted_from = self._seen_at = now
        self._rate = 0.0

    def reach(self, done_bytes: int, now: float) -> Progress:
        """As `add`, by the bytes until now."""
        return self.add(max(0, done_bytes - self._done), now)

    def add(self, size_bytes: int, now: float) -> Progress:
        """Add the bytes; returns the progress."""
        self._done += size_bytes
        if now - self._began_at < _FULL_SECONDS:
            self._counted_from = now
        else:
            elapsed = now - self._seen_at
            period = max(elapsed, min(_RATE_SECONDS, now - self._counted_from))
            self._rate += (size_bytes - self._rate * elapsed) / period
        self._seen_at = now
        left = max(0, self._total - self._done)
        return Progress(self._done, self._total, self._rate, left / self._rate if self._rate > 0 else None)
