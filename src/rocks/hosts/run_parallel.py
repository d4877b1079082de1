"""The same work on many hosts at once: bounded threads, results as they come, nobody waits for the slowest.

The threads are daemons: whoever stops listening (Ctrl-C) goes on at once, what is under way ends by itself,
and what has not begun never does.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from rocks.clock import monotonic_seconds, wait_seconds
from rocks.errors import BugError, HostError, RocksError

Result = TypeVar("Result")

_BEGUN = object()


def run_parallel(
    jobs: Mapping[str, Callable[[], Result]],
    *,
    threads: int,
    deadline_seconds: Mapping[str, float | None],
    delay_seconds: float = 0.0,
) -> Iterator[tuple[str, Result | RocksError]]:
    """Start the jobs now and yield (name, result or error) for each of them as they end.

    At most `threads` run together (all when it is not positive), with `delay_seconds` between two starts. A
    job that is not done within its deadline is given up: its HostError is yielded, and the next one gets a
    thread of its own.
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
        self._left = set(jobs)
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
            while self._left:
                yield from self._next_results()
        finally:
            self._waiting.clear()

    def _next_results(self) -> Iterator[tuple[str, Result | RocksError]]:
        running = [self._ends[name] for name in self._left if name in self._ends]
        patience = max(0.0, min(running) - monotonic_seconds()) if running else None
        try:
            name, result = self._done.get(timeout=patience)
        except queue.Empty:
            yield from self._give_up_late_ones()
            return
        if result is not _BEGUN and name in self._left:
            self._left.discard(name)
            yield name, result

    def _give_up_late_ones(self) -> Iterator[tuple[str, RocksError]]:
        now = monotonic_seconds()
        for name in [name for name in self._left if self._ends.get(name, now + 1) <= now]:
            self._left.discard(name)
            self.add_thread()
            yield (
                name,
                HostError(
                    f"host {name} was given up after {self._deadline_seconds[name]:g} s without an answer; "
                    "what it was asked may still be under way there"
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
                self._done.put((name, _BEGUN))  # wakes the listener, who then knows of this deadline
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
    except Exception as error:  # noqa: BLE001 - a fault of ours on one host must not hide the others
        return BugError(f"host {name}: {type(error).__name__}: {error}; please report this")
