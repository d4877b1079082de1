"""Processor utilization of this machine, from the kernel's counters; it includes all processes."""

import os
from pathlib import Path
from typing import NamedTuple

_COUNTERS = Path("/proc/stat")


class Ticks(NamedTuple):
    """The sum of all processors' counters, in ticks since boot."""

    busy: int
    all: int


def read_ticks(counters: Path = _COUNTERS) -> Ticks:
    """The current counters. Time stolen by a hypervisor counts as not used (proc_stat(5): steal)."""
    first = counters.read_text(encoding="ascii").splitlines()[0]
    user, nice, system, idle, waiting, irq, soft_irq, steal = map(int, first.split()[1:9])
    busy = user + nice + system + irq + soft_irq
    return Ticks(busy, busy + idle + waiting + steal)


def share(begin: Ticks, end: Ticks) -> float:
    """The processor utilization between two readings, from 0 to 1."""
    return (end.busy - begin.busy) / max(1, end.all - begin.all)


def line(name: str, seconds: float, used: float) -> str:
    """A row of the table: seconds, share of the processors, name."""
    return f"{seconds:8.0f} s {used:5.0%} of {os.cpu_count()} processors  {name}"
