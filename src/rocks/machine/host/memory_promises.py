"""Memory of a host: promised to one start at a time, so that starts at the same moment never share it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, Mapping, TypeVar

from rocks.core.errors import HostError
from rocks.core.files import explain
from rocks.fleet.host.state_folder import Place, ensure_folder, locked
from rocks.machine.host.host import Host
from rocks.machine.host.observe import observe
from rocks.machine.plans import check_memory, starting_mb

Decided = TypeVar("Decided")

_LOCK_DEADLINE_SECONDS = 20.0
_LONGEST_BYTES = 20


@contextmanager
def memory_promised(
    host: Host, name: str, memory_mb: int, decide: Callable[[Mapping[str, int]], Decided]
) -> Iterator[Decided]:
    """Promise memory to a domain until the block ends: it is active then, and libvirt counts it, or has failed.

    `decide` gets the promises to starts in progress, in MB by name, and raises StateError when too little is left; no
    other promise is given meanwhile. The promise is a file that its agent locks, so that it ends with the agent. The
    caller holds the machine's lock.
    """
    folder = ensure_folder(Place.MEMORY.below(host.state_folder))
    busy = "another command is starting guests on this host; try again later"
    lock = Place.MEMORY_LOCK.below(host.state_folder)
    with locked(lock, shared=False, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        decided = decide(_promises(folder))
        promise = _promise(folder / name, memory_mb)
    try:
        yield decided
    finally:
        os.close(promise)


def starts_in_progress(state_folder: Path) -> Dict[str, int]:
    """Name → memory in MB of the machines whose start has begun on this host; their domains may not exist yet."""
    return _promises(ensure_folder(Place.MEMORY.below(state_folder)))


def memory_reserved(
    host: Host, name: str, memory_mb: int, reserve_mb: int, outcome: str
) -> ContextManager[None]:
    """As `memory_promised`, where nothing but the memory is decided; `outcome` as of `check_memory`."""

    def decide(promised: Mapping[str, int]) -> None:
        observed = observe(host)
        starting = starting_mb(name, promised, observed)
        check_memory(name, memory_mb, reserve_mb, observed, starting, outcome=outcome)

    return memory_promised(host, name, memory_mb, decide)


def _promises(folder: Path) -> Dict[str, int]:
    """Name → memory in MB of the starts in progress; the files of ended agents are not locked and do not count."""
    found = {}
    for path in folder.iterdir():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # not a file, so nobody's promise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, _LONGEST_BYTES)
            found[path.name] = int(text) if text.isdigit() else 0
        finally:
            os.close(descriptor)
    return found


def _promise(path: Path, memory_mb: int) -> int:
    """The open, locked file of the promise. The caller holds the lock of all promises."""
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise HostError(f"cannot open {path}: {explain(error, path)}") from None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(memory_mb).encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise HostError(f"cannot write {path}: {explain(error, path)}") from None
    return descriptor
