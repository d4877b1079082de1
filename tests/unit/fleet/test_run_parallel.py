"""Parallel work on many hosts: bounded threads, results as they arrive, no waiting for the slowest."""

import threading
import time
from collections.abc import Callable

import pytest

from rocks.core.errors import BugError, HostError, RocksError
from rocks.fleet.run_parallel import run_parallel
from tests.patience import patience


def run(
    jobs: dict[str, Callable[[], int]],
    threads: int = 0,
    deadline_seconds: float | None = 600.0,
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
    """So many jobs run at once, and no more; 0 or less means all."""
    lock, now, peak, is_full = threading.Lock(), 0, 0, threading.Event()

    def job() -> int:
        nonlocal now, peak
        with lock:
            now += 1
            peak = max(peak, now)
            if now == most:
                is_full.set()
        assert is_full.wait(patience(60)), "fewer run at once"
        time.sleep(0.03)  # in which one too many would begin
        with lock:
            now -= 1
        return 1

    assert run({str(number): job for number in range(8)}, threads) == {str(number): 1 for number in range(8)}
    assert peak == most


def test_results_arrive_in_the_order_of_completion() -> None:
    """The slowest job does not delay the others."""
    gate = threading.Event()
    results = run_parallel(
        {"slow": lambda: gate.wait(120), "fast": lambda: True},
        threads=0,
        deadline_seconds={"slow": 600, "fast": 600},
    )
    assert next(results) == ("fast", True)
    gate.set()
    assert list(results) == [("slow", True)]


def test_a_hanging_job_is_abandoned_and_its_thread_replaced() -> None:
    """With one thread and a hanging first job, the others still run."""
    gate = threading.Event()
    start = time.monotonic()
    jobs = {"hangs": lambda: int(gate.wait(600)), "b": lambda: 2, "c": lambda: 3}
    deadlines = {"hangs": 0.2, "b": 600.0, "c": 600.0}
    results = dict(run_parallel(jobs, threads=1, deadline_seconds=deadlines))
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


def test_a_delay_between_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are enough threads. The clock stands, so that the waits are exact."""
    turn, starts = threading.local(), []
    module = "rocks.fleet.run_parallel"
    monkeypatch.setattr(f"{module}.monotonic_seconds", lambda: 64.0)
    monkeypatch.setattr(f"{module}.wait_seconds", lambda seconds: setattr(turn, "seconds", seconds))

    def job() -> int:
        starts.append(turn.seconds)
        return 1

    run(dict.fromkeys("abc", job), delay_seconds=0.25)
    assert sorted(starts) == [0, 0.25, 0.5]


def test_closing_the_results_cancels_waiting_jobs() -> None:
    """Ctrl-C does the same."""
    begun: list[str] = []
    gate = threading.Event()

    def job(name: str) -> bool:
        begun.append(name)
        return name == "a" or gate.wait(120)

    jobs = {name: (lambda name=name: job(name)) for name in "abcdef"}
    earlier = threading.enumerate()
    results = run_parallel(jobs, threads=1, deadline_seconds=dict.fromkeys(jobs, 600.0))
    (worker,) = set(threading.enumerate()) - set(earlier)
    assert next(results) == ("a", True)
    results.close()  # type: ignore[attr-defined]
    gate.set()
    worker.join(patience(60))
    assert not worker.is_alive() and len(begun) <= 2
