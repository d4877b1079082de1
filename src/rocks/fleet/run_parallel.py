"""Parallel work on many hosts: a bounded number of threads, results in the order of their arrival.

The threads are daemons. A caller that stops reading results (Ctrl-C) continues at once; running jobs end by themselves,
and waiting jobs never start.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from rocks.core.clock import monotonic_seconds, wait_seconds
from rocks.core.errors import BugError, HostError, RocksError

Result = TypeVar("Result")

_STARTED = object()


def run_parallel(
    jobs: Mapping[str, Callable[[], Result]],
    *,
    threads: int,
    deadline_seconds: Mapping[str, float | None],
    delay_seconds: float = 0.0,
) -> Iterator[tuple[str, Result | RocksError]]:
    """Start the jobs now and yield (name, result or error) for each of them as they end.

    At most `threads` run at once (all when it is 0 or less), with `delay_seconds` between two starts. A job that
    exceeds its deadline yields HostError, and the next job gets a new thread.
    """
    pool = _Pool(jobs, deadline_seconds, delay_seconds)
    for _ in range(min(len(jobs), threads) if threads > 0 else len(jobs)):
        pool.add_thread()
    return pool.results()


class _Pool(Generic[Result]):
    def __init__(
        self,
        jobs: Mapping[str, Callable[[], Result]],
        deadline_seconds: Mapping[str, float | None],
        delay_seconds: float,
    ) -> None:
        self._waiting = deque(jobs.items())
        self._pending = set(jobs)
        self._deadline_seconds = deadline_seconds
        self._ends: dict[str, float] = {}
        self._done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._delay_seconds = delay_seconds
        self._next_start = monotonic_seconds()
        self._start_lock = threading.Lock()

    def add_thread(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def results(self) -> Iterator[tuple[str, Result | RocksError]]:
        try:
            while self._pending:
                yield from self._next_results()
        finally:
            self._waiting.clear()

    def _next_results(self) -> Iterator[tuple[str, Result | RocksError]]:
        running = [self._ends[name] for name in self._pending if name in self._ends]
        timeout = max(0.0, min(running) - monotonic_seconds()) if running else None
        try:
            name, result = self._done.get(timeout=timeout)
        except queue.Empty:
            yield from self._abandon_late_jobs()
            return
        if result is not _STARTED and name in self._pending:
            self._pending.discard(name)
            yield name, result

    def _abandon_late_jobs(self) -> Iterator[tuple[str, RocksError]]:
        now = monotonic_seconds()
        for name in [name for name in self._pending if self._ends.get(name, now + 1) <= now]:
            self._pending.discard(name)
            self.add_thread()
            yield (
                name,
                HostError(
                    f"host {name} did not answer within {self._deadline_seconds[name]:g} s; "
                    "the request may still be in progress there"
                ),
            )

    def _work(self) -> None:
        while True:
            self._wait_for_turn()
            try:
                name, job = self._waiting.popleft()
            except IndexError:
                return
            deadline_seconds = self._deadline_seconds[name]
            if deadline_seconds is not None:
                self._ends[name] = monotonic_seconds() + deadline_seconds
                # wakes the reader of results, which then knows this deadline
                self._done.put((name, _STARTED))
            self._done.put((name, _outcome(name, job)))

    def _wait_for_turn(self) -> None:
        if not self._delay_seconds:
            return
        with self._start_lock:
            now = monotonic_seconds()
            start = max(now, self._next_start)
            self._next_start = start + self._delay_seconds
        wait_seconds(start - now)


def _outcome(name: str, job: Callable[[], Result]) -> Result | RocksError:
    try:
        return job()
    except RocksError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a bug for one host must not hide the results of the others
        return BugError(f"host {name}: {type(error).__name__}: {error}; please report this")
