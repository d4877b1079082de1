"""How many of something there may be: at the same time, in a second, in a minute."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, TypeVar

from nucleus.api.problems import Problem, limited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nucleus.api.authentication import Caller

MOST_CHANGES_PER_SECOND = 20
_MOST_FAILURES, _FAILURE_SECONDS = 10, 60.0


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
        return limited(detail, headers={"Retry-After": str(self._retry_seconds)})


Value = TypeVar("Value")


class _Latest(OrderedDict[str, Value]):
    """The values that were put last: strangers cannot have it grow."""

    def put(self, key: str, value: Value) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > 10_000:
            self.popitem(last=False)


class Failures:
    """Wrong credentials by the address they came from: after some in a minute the address waits.

    Of IPv6 the first 64 bits count: one customer's machine has all addresses behind them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments = _Latest[list[float]]()

    def check(self, source: str) -> None:
        """Problem 429 when there were too many."""
        with self._lock:
            recent = self._recent(_network_of(source))
        if len(recent) >= _MOST_FAILURES:
            wait = max(1, int(_FAILURE_SECONDS - (time.monotonic() - recent[0])))
            raise limited(f"too many wrong credentials; wait {wait} s", headers={"Retry-After": str(wait)})

    def count(self, source: str) -> None:
        """Note one."""
        source = _network_of(source)
        with self._lock:
            self._moments.put(source, [*self._recent(source)[-_MOST_FAILURES:], time.monotonic()])

    def _recent(self, network: str) -> list[float]:
        now = time.monotonic()
        return [one for one in self._moments.get(network, ()) if now - one < _FAILURE_SECONDS]


def _network_of(source: str) -> str:
    try:
        address = ip_address(source)
    except ValueError:
        return source
    if isinstance(address, IPv4Address) or address.ipv4_mapped:
        return source
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


class Changes:
    """At most so many changes a second for each token, or user without one; `burst` of them at once."""

    def __init__(
        self, per_second: float = MOST_CHANGES_PER_SECOND, burst: int = MOST_CHANGES_PER_SECOND
    ) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._lock = threading.Lock()
        self._buckets = _Latest[tuple[float, float]]()

    def take(self, caller: Caller) -> None:
        """Problem 429 when there were too many."""
        name, now = caller.token_id or caller.actor, time.monotonic()
        with self._lock:
            level, at = self._buckets.get(name, (self._burst, now))
            level = min(self._burst, level + (now - at) * self._per_second)
            self._buckets.put(name, (max(0.0, level - 1), now))
        if level < 1:
            raise limited(
                f"more than {self._per_second:g} changes in a second; send it again in a second",
                headers={"Retry-After": "1"},
            )
