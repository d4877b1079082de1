"""Reads of several pools at once, for a limited time: one that is slow, or hangs, does not hold the others."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TimedOut  # until Python 3.11 another one than Python's own
from typing import Callable, TypeVar

from rocks.core.clock import Deadline
from rocks.core.errors import ToolError

READ_SECONDS = 30.0
"""With what a daemon does next it is within the time that systemd gives it to start."""

_POOLS_AT_ONCE = 32

_Found = TypeVar("_Found")


class PoolReads:
    """Reads that begin at once, and have one time in which they must end."""

    def __init__(self) -> None:
        self._end = Deadline(READ_SECONDS)
        self._threads = ThreadPoolExecutor(_POOLS_AT_ONCE, thread_name_prefix="pool")

    def begin(self, read: Callable[..., _Found], *arguments: str) -> Future[_Found]:
        """Begin a read."""
        return self._threads.submit(read, *arguments)

    def result(self, reading: Future[_Found]) -> _Found:
        """What was read. ToolError when it is not in time, and errors as of the read."""
        try:
            return reading.result(self._end.remaining_seconds())
        except TimedOut:
            raise ToolError(f"zfs has not answered within {READ_SECONDS:g} s, see `zpool status`") from None

    def close(self) -> None:
        """Begin no more; a read that hangs is left to its own deadline."""
        self._threads.shutdown(wait=False)
