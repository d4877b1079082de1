"""The time of a program from its exec to its end, and the typical value of several runs."""

from __future__ import annotations

import os
import select
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from rocks.core.errors import ToolError

Value = TypeVar("Value")
_DEADLINE_SECONDS = 120.0
_KIB_PER_MIB = 1024


class Run(NamedTuple):
    """A run of a program: seconds from its start to its end, and the memory of its largest process (peak RSS)."""

    seconds: float
    peak_mb: float


def run_seconds(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    """As `run_once`, the seconds alone."""
    return run_once(arguments, environment).seconds


def run_once(arguments: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a program (an absolute path and arguments); its output is discarded.

    `rocks.core.process` is not used: its own work takes 1 to 2 ms, too much beside a program of 9 ms.
    ToolError when it fails or takes longer than two minutes.
    """
    begin = time.perf_counter()
    number = os.posix_spawn(
        arguments[0],
        list(arguments),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1, 2)
        ],
    )
    _wait(number, arguments[0])
    seconds = time.perf_counter() - begin
    _, ended, usage = os.wait4(number, 0)
    status = os.waitstatus_to_exitcode(ended)
    if status != 0:
        raise ToolError(f"{' '.join(arguments)} ended with exit status {status} while it was being measured")
    return Run(seconds, usage.ru_maxrss / _KIB_PER_MIB)


def in_turns(measures: Sequence[Callable[[], Value]], rounds: int) -> list[list[Value]]:
    """Each measure's results; they take turns, so that a busy moment of the machine falls on all of them."""
    results: list[list[Value]] = [[] for _ in measures]
    for _ in range(rounds):
        for measure, found in zip(measures, results, strict=True):
            found.append(measure())
    return results


def typical(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def _wait(number: int, name: str) -> None:
    handle = os.pidfd_open(number)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(_DEADLINE_SECONDS * 1000):
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            raise ToolError(f"{name} did not end within {_DEADLINE_SECONDS:g} s and was killed")
    finally:
        os.close(handle)
