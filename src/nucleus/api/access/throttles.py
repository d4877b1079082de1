"""How many of something there may be: at the same time, in a second, in a minute."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, TypeVar

from nucleus.api.problems import Problem, limited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Iterator

    from nucleus.api.access.authentication import Caller

MAX_FAILURES, MAX_FAILURES_OF_KIND = 10, 100
_FAILURE_SECONDS = 60.0


@dataclass
class AtOnce:
    """What users have open of a kind: `max_of_one` of each, `max_of_all` together. `what` names them in refusals.

    They can be counted by a group, too: a host, so that one which answers slowly does not hold the places of all, or
    a project. `of_group` names it in refusals.
    """

    what: str
    max_of_one: int
    max_of_all: int | None = None
    retry_seconds: int = 15
    of_group: str = "host"
    wait_seconds: float = 0
    _lock: threading.Condition = field(init=False, default_factory=threading.Condition)
    _open: Counter[int] = field(init=False, default_factory=Counter)
    _of_groups: Counter[Hashable] = field(init=False, default_factory=Counter)

    @property
    def count(self) -> int:
        """How many there are, of all users."""
        return self._open.total()

    def count_of(self, group: Hashable) -> int:
        """How many there are of a group."""
        return self._of_groups[group]

    def take(self, user_id: int, group: Hashable = None, max_of_group: int | None = None) -> None:
        """One more. Problem when that is too many; else `give_back` must follow."""
        with self._lock:
            if excess := self._excess(user_id, group, max_of_group):
                raise limited(excess, headers={"Retry-After": str(self.retry_seconds)})
            self._open[user_id] += 1
            self._of_groups[group] += 1

    def _excess(self, user_id: int, group: Hashable, max_of_group: int | None) -> str:
        """Why one more is too many; '' where it is not."""
        if self._open[user_id] >= self.max_of_one:
            return f"you have {self.max_of_one} {self.what}; end one first, or wait"
        if self.max_of_all is not None and self._open.total() >= self.max_of_all:
            most, what = self.max_of_all, self.what
        elif max_of_group is not None and self._of_groups[group] >= max_of_group:
            most, what = max_of_group, f"{self.what} of one {self.of_group}"
        else:
            return ""
        return f"there are {most} {what} already, and no more are served; try again later"

    def give_back(self, user_id: int, group: Hashable = None) -> None:
        """One less."""
        with self._lock:
            self._open -= Counter((user_id,))  # which keeps no zeros
            self._of_groups -= Counter((group,))
            self._lock.notify_all()

    @contextlib.contextmanager
    def one_more(
        self, user_id: int, group: Hashable = None, max_of_group: int | None = None
    ) -> Iterator[None]:
        """Count the request until the end of the block. Problem when that is too many, also after `wait_seconds`."""
        with self._lock:
            self._lock.wait_for(lambda: not self._excess(user_id, group, max_of_group), self.wait_seconds)
            self.take(user_id, group, max_of_group)
        try:
            yield
        finally:
            self.give_back(user_id, group)

    @contextlib.asynccontextmanager
    async def turn(
        self, user_id: int, group: Hashable = None, max_of_group: int | None = None
    ) -> AsyncIterator[None]:
        """As `one_more`, but who would be one too many waits, and has no thread meanwhile."""
        while True:
            try:
                self.take(user_id, group, max_of_group)
                break
            except Problem:
                await asyncio.sleep(0.1)
        try:
            yield
        finally:
            self.give_back(user_id, group)


Value = TypeVar("Value")


class Latest(OrderedDict[str, Value]):
    """The values that were put last: strangers cannot have it grow."""

    def put(self, key: str, value: Value) -> None:
        """Store it as the last one."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > 10_000:
            self.popitem(last=False)


class Failures:
    """Wrong credentials of the last minute, by the network they come from, and by what they claim there.

    A claim is a kind and a name, such as `token A1b2C3d4`: a stale token in a script of a shared machine does not slow
    down who mistypes another one there. All claims of a kind together are bounded, too: a stranger has any number of
    names. Of IPv6 the first 64 bits are the network: one customer's machine has all addresses behind them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments = Latest[list[float]]()

    def check(self, source: str, claim: str) -> None:
        """Problem 429 when there were too many."""
        with self._lock:
            self._check(network_of(source), claim)

    def count(self, source: str, claim: str) -> None:
        """Note one. Problem 429 instead when there were too many before it."""
        network = network_of(source)
        with self._lock:  # also over the check: of many at once exactly the limit are noted
            self._check(network, claim)
            for key in _keys(network, claim):
                self._moments.put(key, [*self._recent(key), time.monotonic()])

    def _check(self, network: str, claim: str) -> None:
        for key, limit in _keys(network, claim).items():
            recent = self._recent(key)
            if len(recent) >= limit:
                wait = max(1, int(_FAILURE_SECONDS - (time.monotonic() - recent[0])))
                raise limited(
                    f"too many wrong credentials; wait {wait} s", headers={"Retry-After": str(wait)}
                )

    def _recent(self, key: str) -> list[float]:
        now = time.monotonic()
        return [one for one in self._moments.get(key, ()) if now - one < _FAILURE_SECONDS]


def _keys(network: str, claim: str) -> dict[str, int]:
    """What a failure counts for, and how many are allowed."""
    kind, _, name = claim.partition(" ")
    return {f"{network} {kind}": MAX_FAILURES_OF_KIND, f"{network} {kind} {name[:128]}": MAX_FAILURES}


def network_of(source: str) -> str:
    """What wrong credentials are counted by: an address; of IPv6 its first 64 bits."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    if isinstance(address, IPv4Address) or address.ipv4_mapped:
        return source
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


class Rate:
    """At most so many of `what` a second for each user, by whatever tokens; `burst` of them at once.

    Above it, `max_waiting` of a user wait for their turn: each in a thread of the service, so few, and for
    `max_waiting / per_second` seconds at most. One is let in while fewer than four times as many wait, of all users;
    the only one of its user while fewer than six times as many do, so that four who ask too often do not keep out who
    asks one after the other. The others are refused. Refused ones do not count: who asks too often has the rate all
    the same.
    """

    def __init__(self, what: str, per_second: float, burst: int, max_waiting: int = 0) -> None:
        self._what = what
        self._per_second = per_second
        self._burst = float(burst)
        self._max_waiting = max_waiting
        self._waiting = 0
        self._lock = threading.Lock()
        self._buckets = Latest[tuple[float, float]]()

    def take(self, caller: Caller) -> None:
        """Wait for the turn. Problem 429 when there were too many."""
        name, now = caller.actor, time.monotonic()
        with self._lock:
            level = self._level(name, now)
            waits = level < 1
            others_wait = level < 0  # others of the user: each of them has taken one before its turn
            max_of_all = (4 if others_wait else 6) * self._max_waiting
            is_taken = not waits or (level >= 1 - self._max_waiting and self._waiting < max_of_all)
            self._buckets.put(name, (level - 1 if is_taken else level, now))
            self._waiting += waits and is_taken
        if not is_taken:
            raise self._too_many(level)
        if waits:
            try:
                time.sleep((1 - level) / self._per_second)
            finally:
                with self._lock:
                    self._waiting -= 1

    def charge(self, caller: Caller, count: float) -> None:
        """Have one that was taken count as so many more."""
        name, now = caller.actor, time.monotonic()
        with self._lock:
            self._buckets.put(name, (self._level(name, now) - count, now))

    def check(self, caller: Caller) -> None:
        """Problem 429 while the user has to wait for what was charged."""
        with self._lock:
            level = self._level(caller.actor, time.monotonic())
        if level < 0:
            raise self._too_many(level)

    def _level(self, name: str, now: float) -> float:
        level, at = self._buckets.get(name, (self._burst, now))
        return min(self._burst, level + (now - at) * self._per_second)

    def _too_many(self, level: float) -> Problem:
        seconds = max(1, math.ceil(-level / self._per_second))
        detail = f"more than {self._per_second:g} {self._what} in a second; send it again in a second"
        if seconds > 1:
            detail = f"your {self._what} take long, and each counts as many; send it again in {seconds} s"
        return limited(detail, headers={"Retry-After": str(seconds)})


class DailyRate(Rate):
    """At most so many of `what` in a day for each name; they come back evenly. A restart of the service forgets them.

    It limits records that are stored for long (`[history] days`), and so what one owner adds to the database.
    """

    def __init__(self, what: str, most: int) -> None:
        super().__init__(what, most / 86_400, most)

    def has_one_more(self, name: str) -> bool:
        """Take one of this name; whether there was one left."""
        with self._lock:
            now = time.monotonic()
            level = self._level(name, now)
            if level >= 1:
                self._buckets.put(name, (level - 1, now))
            return level >= 1

    def _too_many(self, level: float) -> Problem:
        seconds = max(1, math.ceil((1 - level) / self._per_second))
        wait = f"{seconds} s" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"
        return limited(
            f"you have had the {self._burst:.0f} {self._what} that the site allows in a day; wait {wait}, or ask the"
            " site's operators for more",
            headers={"Retry-After": str(seconds)},
        )
