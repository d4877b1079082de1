"""The progress of a long copy: percent, bytes, rate and the time left, in one line."""

from __future__ import annotations

from collections.abc import Callable

from rocks.core.clock import monotonic_seconds
from rocks.core.values import duration, rate_text, size_text

Progress = Callable[[str], None]
"""Gets a line now and then, which replaces the one before."""

_EVERY_SECONDS = 0.5


class Meter:
    """Counts the bytes of one step, whose number is known beforehand or estimated."""

    def __init__(self, show: Progress, what: str, total_bytes: int, done_bytes: int = 0) -> None:
        """`done_bytes` were done by an earlier command."""
        self._show, self._what = show, what
        self._total = total_bytes
        self._before, self._done = done_bytes, done_bytes
        self._begin = self._reported = monotonic_seconds()

    def count(self, size_bytes: int) -> None:
        """So many more bytes are done."""
        self.reach(self._done + size_bytes)

    def reach(self, done_bytes: int) -> None:
        """So many bytes are done in all."""
        self._done = done_bytes
        now = monotonic_seconds()
        if now >= self._reported + _EVERY_SECONDS:
            self._reported = now
            self._show(self.line(now - self._begin))

    def line(self, seconds: float) -> str:
        """The progress after so many seconds of this command."""
        done, total = min(self._done, self._total), max(1, self._total)
        rate = (self._done - self._before) / seconds if seconds > 0 else 0.0
        left = f", {duration((total - done) / rate)} left" if rate > 0 else ""
        return (
            f"{self._what}: {100 * done // total} %, {size_text(done)} of {size_text(total)}, "
            f"{rate_text(round(rate))}{left}"
        )
