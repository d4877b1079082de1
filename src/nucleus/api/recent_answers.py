"""What many ask for, and what is found out for all of them by one thread at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")


class RecentAnswer(Generic[Found]):
    """What was found in the last seconds. Nobody waits for the thread that looks again: others get what is known."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: tuple[float, Found] | None = None

    def get(self, look: Callable[[], Found]) -> Found | None:
        """What was found lately, or else is found now; None where nothing is known yet, and another thread looks."""
        known = self._known
        if known is not None and time.monotonic() - known[0] < self._seconds:
            return known[1]
        if not self._lock.acquire(blocking=False):
            return None if known is None else known[1]
        try:
            found = look()
            self._known = time.monotonic(), found
            return found
        finally:
            self._lock.release()
