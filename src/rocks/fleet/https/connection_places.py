"""How many connections a server has at once, and which one gives way when there are too many."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from rocks.core.clock import monotonic_seconds
from rocks.core.dataclasses import dataclass

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True)
class Bounds:
    """What clients can use at once: answers being made, connections, connections of one address, seconds of one.

    A file may take a second more for each `bytes_per_second` of it. Beyond the number of connections, a reader that has
    taken fewer gives way to another client, but not in its first `patience_seconds`.
    """

    workers: int = 8
    connections: int = 512
    per_address: int = 8
    seconds: float = 60.0
    body_bytes: int = 4096
    head_bytes: int = 65536
    bytes_per_second: int = 50_000
    patience_seconds: float = 10.0

    @property
    def question_bytes(self) -> int:
        """The longest question to the process that answers: what is read, each byte as six of JSON."""
        return 6 * (2 * self.head_bytes + self.body_bytes) + 4096


@dataclass
class _Reader:
    """A connection that gets a file: since when, by the clock for durations, and how many bytes it took."""

    connection: socket.socket
    begun: float
    taken: int = 0

    def bytes_per_second(self, now: float) -> float:
        return self.taken / max(now - self.begun, 1.0)


class Places:
    """The connections of a server, by the socket that was accepted; any thread may use it."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._displaceable: dict[object, tuple[str, socket.socket]] = {}
        self._readers: dict[object, _Reader] = {}

    def take(self, request: socket.socket, address: str) -> tuple[bool, socket.socket | None]:
        """Whether the bounds allow one more connection of this address; and the one that is to end for it."""
        displaced = None
        with self._lock:
            allowed = self._connections[address] < self._bounds.per_address
            if allowed and self._connections.total() >= self._bounds.connections:
                displaced = self._displaced()
                allowed = displaced is not None
            if allowed:
                self._connections[address] += 1
                self._displaceable[request] = (address, request)
        return allowed, displaced

    def _displaced(self) -> socket.socket | None:
        """Take out the oldest connection, without a file, of the address that has the most of them; else a reader."""
        count = Counter(address for address, _ in self._displaceable.values())
        if not count:
            return self._slowest_reader()
        crowded = count.most_common(1)[0][0]
        key = next(key for key, (address, _) in self._displaceable.items() if address == crowded)
        return self._displaceable.pop(key)[1]

    def _slowest_reader(self) -> socket.socket | None:
        """Take out the slowest one, if its rate is below the bound."""
        now = monotonic_seconds()
        rates = {
            key: one.bytes_per_second(now)
            for key, one in self._readers.items()
            if now - one.begun >= self._bounds.patience_seconds
        }
        slowest = min(rates, key=rates.__getitem__, default=None)
        if slowest is None or rates[slowest] >= self._bounds.bytes_per_second:
            return None
        return self._readers.pop(slowest).connection

    def secure(self, request: socket.socket, secured: socket.socket) -> None:
        """Cut the TLS socket from now on. OSError when the connection had to give way already."""
        with self._lock:
            if request not in self._displaceable:
                raise ConnectionAbortedError
            self._displaceable[request] = (self._displaceable[request][0], secured)

    def keep_for_file(self, request: object, connection: socket.socket) -> None:
        """The connection gets a file, and gives way only when it is slow."""
        with self._lock:
            self._displaceable.pop(request, None)
            self._readers[request] = _Reader(connection, monotonic_seconds())

    def keep(self, request: object) -> None:
        """The connection gives way to nobody."""
        with self._lock:
            self._displaceable.pop(request, None)

    def count_taken(self, request: object, length: int) -> None:
        """The reader of a file took so many bytes more."""
        with self._lock:
            reader = self._readers.get(request)
            if reader is not None:
                reader.taken += length

    def release(self, request: object, address: str) -> None:
        """The connection has ended."""
        with self._lock:
            self._displaceable.pop(request, None)
            self._readers.pop(request, None)
            self._connections[address] -= 1
            self._connections += Counter()
