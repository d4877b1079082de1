"""Parallel work on many hosts: bounded threads, results as they arrive, no waiting for the slowest."""

import threading
import time
from collections.abc import Callable

import pytest

from rocks.core.errors import BugError, HostError, RocksError
from rocks.fleet.run_parallel import run_parallel


def run(
    jobs: dict[str, Callable[[], int]],
    threads: int = 0,
    deadline_seconds: float | None = 5.0,
    delay_seconds: float = 0.0,
) -> dict[str, int | RocksError]:
    """All results."""
    deadlines = dict.fromkeys(jobs, deadline_seconds)
    return dict(run_parallel(jobs, threads=threads, deadline_seconds=deadlines, delay_seconds=delay_seconds))


def test_no_jobs() -> None:
    """No results, at once."""
    assert run({}) == {}


def test_every_job_has_its_own_result() -> None:
    """A failure yields its error, another exception BugError, the others their values."""

    def fail() -> int:
        raise HostError("host b is down")

    def break_down() -> int:
        raise ZeroDivisionError("x")

    results = run({"a": lambda: 1, "b": fail, "c": break_down, "d": lambda: 0})
    assert results["a"] == 1 and results["d"] == 0
    assert isinstance(results["b"], HostError)
    assert isinstance(results["c"], BugError) and "host c: ZeroDivisionError" in str(results["c"])


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (3, 3), (0, 8), (-1, 8), (100, 8)])
def test_threads_are_bounded(threads: int, most: int) -> None:
    """At most so many jobs run at once; 0 or less means all."""
    lock, now, peak = threading.Lock(), 0, 0

    def job() -> int:
        nonlocal now, peak
        with lock:
            now += 1
            peak = max(peak, now)
        time.sleep(0.03)
        with lock:
            now -= 1
        return 1

    assert len(run({str(number): job for number in range(8)}, threads)) == 8
    assert peak <= most
    assert threads == 1 or peak > 1


def test_results_arrive_in_the_order_of_completion() -> None:
    """The slowest job does not delay the others."""
    gate = threading.Event()
    results = run_parallel(
        {"slow": lambda: gate.wait(120), "fast": lambda: True},
        threads=0,
        deadline_seconds={"slow": 10, "fast": 10},
    )
    assert next(results) == ("fast", True)
    gate.set()
    assert list(results) == [("slow", True)]


def test_a_hanging_job_is_abandoned_and_its_thread_replaced() -> None:
    """With one thread and a hanging first job, the others still run."""
    gate = threading.Event()
    start = time.monotonic()
    results = run({"hangs": lambda: int(gate.wait(600)), "b": lambda: 2, "c": lambda: 3}, 1, 0.2)
    gate.set()
    assert time.monotonic() - start < 300, "it was waited for"
    assert isinstance(results["hangs"], HostError)
    assert "host hangs did not answer within 0.2 s" in str(results["hangs"])
    assert (results["b"], results["c"]) == (2, 3)


def test_without_a_deadline_it_waits() -> None:
    """None waits without limit."""

    def job() -> int:
        time.sleep(0.2)
        return 1

    assert run({"a": job}, deadline_seconds=None) == {"a": 1}


def test_a_delay_between_starts() -> None:
    """Also where there are enough threads."""
    starts: list[float] = []

    def job() -> int:
        starts.append(time.monotonic())
        return 1

    run(dict.fromkeys("abc", job), 0, 5, 0.1)
    starts.sort()
    assert all(later - earlier > 0.08 for earlier, later in zip(starts, starts[1:], strict=False))


def test_closing_the_results_cancels_waiting_jobs() -> None:
    """Ctrl-C does the same."""
    begun: list[str] = []
    gate = threading.Event()

    def job(name: str) -> bool:
        begun.append(name)
        return name == "a" or gate.wait(120)

    jobs = {name: (lambda name=name: job(name)) for name in "abcdef"}
    results = run_parallel(jobs, threads=1, deadline_seconds=dict.fromkeys(jobs, 10.0))
    assert next(results) == ("a", True)
    results.close()  # type: ignore[attr-defined]
    gate.set()
    time.sleep(0.1)
    assert len(begun) <= 2
