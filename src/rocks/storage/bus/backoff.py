"""How long to wait before the next attempt: longer each time, different for each client."""

from __future__ import annotations

import random


class Backoff:
    """Seconds to wait: `first`, doubled each time up to `longest`, each shortened at random.

    So a hundred hosts do not reconnect at the same moment.
    """

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first = self._next = first
        self._longest = longest

    def reset(self) -> None:
        """The attempt succeeded: the next wait is `first`."""
        self._next = self._first

    def next_seconds(self) -> float:
        """Seconds to wait before the next attempt."""
        seconds = self._next
        self._next = min(self._longest, seconds * 2)
        return seconds * random.uniform(0.7, 1.0)
