"""The machine of the measurements, in one line."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_KIB_PER_GIB = 1024 * 1024


def describe(*more: str) -> str:
    """Cores, memory, distribution, kernel, and further conditions: `2 cores, 24 GiB, Debian 12, kernel 6.1.0, TCG`."""
    cores = len(os.sched_getaffinity(0))
    return ", ".join(
        [
            f"{cores} core{'s' if cores != 1 else ''}",
            f"{_memory_gib()} GiB",
            _distribution(Path("/etc/os-release").read_text(encoding="utf-8")),
            f"kernel {platform.release()}",
            *more,
        ]
    )


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def _memory_gib() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    total_kib = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))
    return round(total_kib / _KIB_PER_GIB)


def _distribution(text: str) -> str:
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name = fields.get("NAME", "Linux").strip('"').removesuffix(" GNU/Linux")
    return f"{name} {fields.get('VERSION_ID', '').strip(chr(34))}".strip()
