"""The one lab that a checkout has: its folders, the record of its build, and its `Lab` for a program inside."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.build import parts
from lab.build.cache import Cache
from lab.build.parts import Built
from lab.machines.kvm import kvm_works
from lab.machines.lab import Lab
from lab.machines.roster import MACHINES
from rocks.errors import BusyError, StateError

CHECKOUT = Path(__file__).absolute().parent.parent.parent
STATE = CHECKOUT / ".state" / "lab"
"""Files of the running lab; removed at its end."""

CACHE = CHECKOUT / ".state" / "lab-cache"
"""The built parts; they stay."""

_KVM_MEMORY = CHECKOUT / ".state" / "lab-kvm"
_BUILD_RECORD = STATE / "built"
_CPUS_RECORD = STATE / "cpus"
_LOCK = CHECKOUT / ".state" / "lab.lock"


def open_lab() -> Lab:
    """The lab of this checkout, for a program inside its namespace. StateError when it is not built."""
    check_same_build()
    built = parts.required(Cache(CACHE))
    cpus = int(_CPUS_RECORD.read_text(encoding="ascii"))
    return Lab(STATE, built, with_kvm(built), [machine._replace(cpus=cpus) for machine in MACHINES])


def with_kvm(built: Built) -> bool:
    """Whether the machines run under KVM here; found out once for each boot of the carrying machine."""
    return kvm_works(built, _KVM_MEMORY)


def record_build(cpus: int) -> None:
    """Record the keys of the parts of the machines about to start, and the number of processors of each machine."""
    STATE.mkdir(parents=True, exist_ok=True)
    _CPUS_RECORD.write_text(str(cpus), encoding="ascii")
    _BUILD_RECORD.write_text(repr(parts.keys()), encoding="ascii")


def check_same_build() -> None:
    """StateError when the running machines were built from other sources: their image must stay while they run."""
    if not _BUILD_RECORD.exists() or _BUILD_RECORD.read_text(encoding="ascii") != repr(parts.keys()):
        raise StateError(
            "the lab runs, built from sources that have changed since: `make lab-stop`, then `make lab`"
        )


def check_same_cpus(cpus: int) -> None:
    """StateError when the running machines have another number of processors: their saved states depend on it."""
    there = _CPUS_RECORD.read_text(encoding="ascii")
    if there != str(cpus):
        raise StateError(
            f"the lab runs with cpus={there} for each machine, not cpus={cpus}: `make lab-stop`, then the same again"
        )


@contextmanager
def alone() -> Iterator[None]:
    """BusyError when another command is building, starting or stopping the lab; else none can until the block's end."""
    _LOCK.parent.mkdir(exist_ok=True)
    # mode 0600: a lock on a file that others can open could be theirs
    with open(os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:  # noqa: PTH123
        os.fchmod(lock.fileno(), 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                "another command is building, starting or stopping this lab; wait for it"
            ) from None
        yield
