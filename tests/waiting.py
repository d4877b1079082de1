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
    condition: Callable[[], object],
    problem: str | Callable[[], object] = "it did not happen in time",
    seconds: float = 120,
) -> None:
    """Wait until the condition holds; AssertionError with the problem after so many seconds of a quiet machine."""
    end_at = time.monotonic() + patience(seconds)
    while not condition():
        assert time.monotonic() < end_at, problem if isinstance(problem, str) else problem()
        time.sleep(0.02)


def at_once(work: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]:
    """What `work` returns for each of these, in threads that begin at the same moment; raises what one raises."""
    begin = threading.Barrier(len(given))

    def begun(one: Given) -> Result:
        begin.wait(patience(60))
        return work(one)

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(begun, given))
