"""How long to wait before the next try: longer each time, never the same for two."""

from __future__ import annotations

import random


class Backoff:
    """Seconds to wait: `first`, doubled each time up to `longest`, each a little shorter by chance.

    By chance, so that a hundred hosts do not come back at the same moment.
    """

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first = self._next = first
        self._longest = longest

    def reset(self) -> None:
        """It went well: begin anew."""
        self._next = self._first

    def next_seconds(self) -> float:
        """How long to wait now."""
        seconds = self._next
        self._next = min(self._longest, seconds * 2)
        return seconds * random.uniform(0.7, 1.0)
