"""How many of something there may be at the same time."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING

from nucleus.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator


class AtOnce:
    """What users have open of one kind: `most_of_one` of each, and `most` of all. `what` names them in refusals."""

    def __init__(self, what: str, most_of_one: int, most: int | None = None, retry_seconds: int = 15) -> None:
        self._what = what
        self._most_of_one = most_of_one
        self._most = most
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._open: Counter[int] = Counter()

    @property
    def count(self) -> int:
        """How many there are, of all users."""
        return self._open.total()

    def take(self, user_id: int) -> None:
        """One more. Problem when that is too many; else `give_back` must follow."""
        with self._lock:
            if self._open[user_id] >= self._most_of_one:
                raise self._too_many(f"you have {self._most_of_one} {self._what}; end one first, or wait")
            if self._most is not None and self._open.total() >= self._most:
                raise self._too_many(f"there are {self._most} {self._what} already; wait")
            self._open[user_id] += 1

    def give_back(self, user_id: int) -> None:
        """One less."""
        with self._lock:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]

    @contextlib.contextmanager
    def one_more(self, user_id: int) -> Iterator[None]:
        """It counts until the end of the block. Problem when that is too many."""
        self.take(user_id)
        try:
            yield
        finally:
            self.give_back(user_id)

    def _too_many(self, detail: str) -> Problem:
        return Problem("rate-limited", detail, headers={"Retry-After": str(self._retry_seconds)})
