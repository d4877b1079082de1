"""Facts of the machine: memory, processors and load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from rocks.core.units import KIB_PER_MB


class MachineFact(NamedTuple):
    """As reported by the kernel; `memory_mb` is MemTotal, `load` the load average of the last minute."""

    memory_mb: int
    cpus: int
    load: float = 0.0


def read_machine() -> MachineFact:
    """The facts of this machine."""
    memory_kib = parse_memory_kib(Path("/proc/meminfo").read_text("ascii"))
    return MachineFact(
        memory_mb=memory_kib // KIB_PER_MB,
        cpus=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
    )


def parse_memory_kib(meminfo: str) -> int:
    """`MemTotal` of /proc/meminfo, in KiB; 0 when it is missing."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0
