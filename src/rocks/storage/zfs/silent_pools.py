"""Pools that do not answer: one command at a time asks each of them, and the others fail at once.

A command that waits in the kernel cannot be killed, and stays until the kernel goes on. Without this each try would
leave another one behind, and all workers of a daemon would wait in vain, also those of other pools. One such command
says nothing of the other datasets of its pool; two of different datasets, or one of the pool itself, do.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TimedOut
from datetime import datetime
from typing import Callable, Dict, List, NamedTuple, Optional, TypeVar

from rocks.core.clock import Deadline, utc_now
from rocks.core.errors import HostError, ToolError
from rocks.core.process import Finished, LateError


class _Late(NamedTuple):
    """A command that was not answered in time."""

    dataset: str
    began: datetime
    error: LateError


class SilentPools:
    """Of one process, for all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: Dict[str, _Pool] = {}

    def ask(self, dataset: str, command: Callable[[], Finished]) -> Finished:
        """Run a command about a dataset, its snapshots, or a pool; '' is the list of all pools.

        HostError at once while the pool, or the kernel for this dataset, does not answer. LateError of a command that
        is not answered in time itself.
        """
        began, dataset = utc_now(), dataset.partition("@")[0].partition("#")[0]
        name = dataset.partition("/")[0]
        with self._lock:
            pool = self._pools.setdefault(name, _Pool(name))
            asks_again = pool.begin(dataset)
        late: Optional[_Late] = None
        try:
            return command()
        except LateError as error:
            late = _Late(dataset, began, error)
            raise
        finally:
            with self._lock:
                pool.end(asks_again, late)


class _Pool:
    """What a pool has not answered."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._hanging: List[_Late] = []
        self._silent_since: Optional[datetime] = None
        """When the first of the commands began that were not answered; None when the last one was."""
        self._is_asked = False

    def begin(self, dataset: str) -> bool:
        """Whether the caller asks a silent pool again, alone. HostError when its command is not to be begun."""
        self._hanging = [late for late in self._hanging if not late.error.has_ended()]
        datasets = {late.dataset for late in self._hanging}
        is_asked = self._is_asked and self._silent_since is not None
        if len(datasets) > 1 or self._name in datasets or is_asked:
            raise _not_answered(self._name, self._name, self._hanging, self._silent_since)
        if dataset in datasets:
            raise _not_answered(dataset, self._name, self._hanging, None)
        self._is_asked = self._silent_since is not None
        return self._is_asked

    def end(self, asks_again: bool, late: Optional[_Late]) -> None:
        """The command of the caller has ended, in time or late."""
        if asks_again:
            self._is_asked = False
        if late is None:
            self._silent_since = None
        else:
            self._hanging.append(late)
            self._silent_since = self._silent_since or late.began


def _not_answered(what: str, pool: str, hanging: List[_Late], silent_since: Optional[datetime]) -> HostError:
    since = min(filter(None, (silent_since, *(late.began for late in hanging))))
    named = f"{'the pool ' if what == pool else ''}{what}" if pool else "zpool"
    status = f"zpool status {pool}".rstrip()
    return HostError(f"{named} has not answered since {since:%Y-%m-%d %H:%M:%S} UTC, see `{status}`")


# --- reads of several pools at once, for a limited time: one that is slow, or hangs, does not hold the others ------


READ_SECONDS = 30.0
"""The limit of a reading. With what a daemon does next it is within the time that systemd gives it to start."""

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
