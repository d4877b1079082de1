"""Connections that have not yet sent who they are and what they request: bounded in number and time.

Anyone who reaches the port can open them. When there are too many, the oldest gives way: an honest node needs less than
a second, so it comes through although others hold connections open.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, NamedTuple, Optional

OPENING_SECONDS = 20.0
"""For the handshake and the first line together."""

MAX_WAITING = 64
"""Of all addresses; each has a thread."""

MAX_OF_AN_ADDRESS = 16
"""Far fewer than of all, so that no single address displaces the others."""


MAX_OF_A_PEER = 64
"""Of one node, that wait to be served; each has a thread."""


class _Waiting(NamedTuple):
    address: str
    ends_at: float
    end: Callable[[], None]


class WaitingConnections:
    """The connections, oldest first. Time is an argument, so that tests need not wait."""

    def __init__(self) -> None:
        self._all: Dict[int, _Waiting] = {}
        self._next = 0
        self._lock = threading.Lock()

    def admit(self, address: str, now: float, end: Callable[[], None]) -> int:
        """Count a connection until `leave` with the returned number; `end` is called when it must give way."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._all[number] = _Waiting(address, now + OPENING_SECONDS, end)
            displaced = self._displaced(address)
        if displaced is not None:
            displaced.end()
        return number

    def leave(self, number: int) -> None:
        """It has ended, or has sent its first line. Repeating that is harmless."""
        with self._lock:
            self._all.pop(number, None)

    def end_overdue(self, now: float) -> None:
        """End those whose time is over."""
        with self._lock:
            overdue = [self._all.pop(key) for key, one in list(self._all.items()) if one.ends_at <= now]
        for one in overdue:
            one.end()

    def end_all(self) -> None:
        """End all of them."""
        self.end_overdue(float("inf"))

    def _displaced(self, address: str) -> Optional[_Waiting]:
        """Take out the oldest one of the address, or of the address that has the most, if there are too many."""
        count = Counter(one.address for one in self._all.values())
        if count[address] > MAX_OF_AN_ADDRESS:
            crowded = address
        elif len(self._all) > MAX_WAITING:
            crowded = count.most_common(1)[0][0]
        else:
            return None
        return self._all.pop(next(number for number, one in self._all.items() if one.address == crowded))


class Turns:
    """At most `limit` transfers at once; others wait, `MAX_OF_A_PEER` of a node at most."""

    def __init__(self, limit: int) -> None:
        self._slots = threading.BoundedSemaphore(limit)
        self._peers: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, peer: str, deadline_seconds: float) -> Iterator[bool]:
        """Wait for a turn; False when too many of the node's wait already, or at the deadline."""
        if not self._wait(peer, deadline_seconds):
            yield False
            return
        try:
            yield True
        finally:
            self._slots.release()

    def _wait(self, peer: str, deadline_seconds: float) -> bool:
        with self._lock:
            if self._peers[peer] >= MAX_OF_A_PEER:
                return False
            self._peers[peer] += 1
        try:
            return self._slots.acquire(timeout=deadline_seconds)
        finally:
            with self._lock:
                self._peers[peer] -= 1
