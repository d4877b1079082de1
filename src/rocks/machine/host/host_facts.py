"""Facts of the machine: memory, processors, load and operating system."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from rocks.core.units import KIB_PER_MB

_NAME = re.compile(r"[a-z0-9._-]{1,40}")


class MachineFact(NamedTuple):
    """As reported by the kernel; `memory_mb` is MemTotal, `load` the load average of the last minute.

    `system` is the operating system and its release, as debian 12; empty without /etc/os-release.
    """

    memory_mb: int
    cpus: int
    load: float = 0.0
    system: str = ""


def read_machine() -> MachineFact:
    """The facts of this machine."""
    memory_kib = parse_memory_kib(Path("/proc/meminfo").read_text("ascii"))
    return MachineFact(
        memory_mb=memory_kib // KIB_PER_MB,
        cpus=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        system=_read_system(*map(Path, ("/etc/os-release", "/usr/lib/os-release"))),
    )


def _read_system(*places: Path) -> str:
    """`ID` and `VERSION_ID`; without what os-release(5) does not allow there. A testing release has no number."""
    for place in places:
        with contextlib.suppress(OSError):
            lines = place.read_text("utf-8", "replace").splitlines()
            break
    else:
        return ""
    values = {name: value.strip("\"'") for name, _, value in (line.strip().partition("=") for line in lines)}
    found = [values.get(name, "") for name in ("ID", "VERSION_ID")]
    return " ".join(value for value in found if _NAME.fullmatch(value))


def parse_memory_kib(meminfo: str) -> int:
    """`MemTotal` of /proc/meminfo, in KiB; 0 when it is missing."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0
