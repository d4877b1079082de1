"""How long a test waits for what another process does, on this machine as it is now.

A deadline in a test shows that something comes to an end; how soon it does is a matter of the machine. So a test writes
the seconds of a quiet machine, `patience(10)`, and they are multiplied by one factor of at least 1 and at most 10: the
time that this machine needs for a short loop, against the machine of reference, times the processes that wait for each
processor. `ROCKS_TEST_PATIENCE=3` sets the factor. A time that is itself the subject (a program's own deadline, a
bound that must not be exceeded) is no such deadline.
"""

import functools
import os
import time

VARIABLE = "ROCKS_TEST_PATIENCE"
MAX_FACTOR = 10.0
REFERENCE_SECONDS = 0.006
"""CPU time of `_loop_seconds` on the machine of reference (AMD EPYC, CPython 3.11)."""


def patience(seconds: float) -> float:
    """The seconds to wait for what takes at most `seconds` on a quiet machine; never less than these."""
    given = os.environ.get(VARIABLE)
    return seconds * (
        factor_given(given) if given else factor(_speed_seconds(), _waiting_for_each_processor())
    )


def factor(loop_seconds: float, waiting: float) -> float:
    """For a loop of this CPU time, and the processes that are ready to run for each processor."""
    return min(MAX_FACTOR, max(1.0, loop_seconds / REFERENCE_SECONDS) * max(1.0, waiting))


def factor_given(text: str) -> float:
    """The factor that the variable sets; ValueError, with its name, for what is no number of at least 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise ValueError(f"{VARIABLE} is {text!r}; it must be a number of at least 1")
    return value


@functools.cache
def _speed_seconds() -> float:
    """The best of five, once in a process. CPU time: that other processes run does not count here."""
    return min(_loop_seconds() for _ in range(5))


def _loop_seconds() -> float:
    start = time.thread_time()
    total = 0
    for number in range(200_000):
        total += number % 7
    return time.thread_time() - start


def _waiting_for_each_processor() -> float:
    """Of the last minute. It is read for each deadline: a run raises it itself."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)
