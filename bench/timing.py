"""The time of a program from its exec to its end, its memory, and the typical value of several runs."""

from __future__ import annotations

import os
import select
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rocks.core.errors import ToolError
from rocks.core.process import run_checked

Value = TypeVar("Value")
_DEADLINE_SECONDS = 120.0
_KIB_PER_MIB = 1024


_PEAK = """\
import resource, subprocess, sys
null = subprocess.DEVNULL
subprocess.run(sys.argv[1:], stdin=null, stdout=null, stderr=null, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Prints the KiB of the largest process that a program was.

Linux counts the memory of the process that starts a program as the program's: this one is smaller than the bench.
"""


def peak_megabytes(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a program; the memory of its largest process (peak RSS). At least some 10 MB: see `_PEAK`.

    ToolError when it fails or takes longer than two minutes.
    """
    measured = run_checked(
        [sys.executable, "-E", "-S", "-c", _PEAK, *arguments],
        deadline_seconds=_DEADLINE_SECONDS,
        environment=environment,
    )
    return int(measured.text) / _KIB_PER_MIB


def run_seconds(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a program (an absolute path and arguments), and return the seconds that it took; its output is discarded.

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
    status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    if status != 0:
        raise ToolError(f"{' '.join(arguments)} ended with exit status {status} while it was being measured")
    return seconds


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
