"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.patience import patience


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
