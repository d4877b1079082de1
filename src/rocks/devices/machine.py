"""What a host is: its name, kernel, memory and processors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from rocks.units import KIB_PER_MB


class MachineFact(NamedTuple):
    """As the kernel tells it; memory is what the kernel has to give."""

    hostname: str
    kernel: str
    machine: str
    memory_mb: int
    cpus: int


def read_machine() -> MachineFact:
    """The facts of this very machine."""
    names = os.uname()
    memory_kib = parse_memory_kib(Path("/proc/meminfo").read_text("ascii"))
    return MachineFact(
        hostname=names.nodename,
        kernel=names.release,
        machine=names.machine,
        memory_mb=memory_kib // KIB_PER_MB,
        cpus=os.cpu_count() or 1,
    )


def parse_memory_kib(meminfo: str) -> int:
    """`MemTotal` of /proc/meminfo, in KiB; 0 when it does not say."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0
