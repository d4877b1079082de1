"""Waiting for what another process or thread does, and several threads at once."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.patience import patience

Given = TypeVar("Given")
Result = TypeVar("Result")


def wait_until(
    condition: Callable[[], Result | None],
    problem: str | Callable[[], object] = "it did not happen in time",
    seconds: float = 120,
) -> Result:
    """Wait until the condition holds; returns what it returned then.

    AssertionError with the problem after so many seconds of a quiet machine.
    """
    end_at = time.monotonic() + patience(seconds)
    while not (found := condition()):
        assert time.monotonic() < end_at, problem if isinstance(problem, str) else problem()
        time.sleep(0.02)
    return found


def step_until(
    step: Callable[[], Result | None], problem: str | Callable[[], object], times: int = 1000
) -> Result:
    """Call it until it returns something true, and return that; for work that this thread itself drives.

    AssertionError with the problem after so many calls.
    """
    for _ in range(times):
        if found := step():
            return found
    raise AssertionError(problem if isinstance(problem, str) else problem())


def at_once(work: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]:
    """What `work` returns for each of these, in threads that begin at the same moment; raises what one raises."""
    begin = threading.Barrier(len(given))

    def begun(one: Given) -> Result:
        begin.wait(patience(60))
        return work(one)

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(begun, given))
