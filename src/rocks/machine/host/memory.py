"""Memory of a host: promised to one start at a time, so that starts at the same moment never share it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator

from rocks.core.errors import HostError, StateError
from rocks.core.files import explain
from rocks.fleet.host.state_folder import Place, ensure_folder, locked
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.checks import ACTIVE
from rocks.machine.host.machine import read_machine

_LOCK_DEADLINE_SECONDS = 20.0
_LONGEST_BYTES = 20


@contextmanager
def memory_promised(host: Host, name: str, memory_mb: int, reserve_mb: int) -> Iterator[None]:
    """Promise memory to a domain until the block ends: it is active then, and libvirt counts it, or has failed.

    StateError when the active domains and the promises to other starts leave too little. The promise is a file that its
    agent locks, so that it ends with the agent. The caller holds the machine's lock.
    """
    folder = ensure_folder(Place.MEMORY.below(host.state_folder))
    busy = "another command is starting guests on this host; try again later"
    lock = Place.MEMORY_LOCK.below(host.state_folder)
    with locked(lock, shared=False, deadline_seconds=_LOCK_DEADLINE_SECONDS, busy=busy):
        _check(host, folder, name, memory_mb, reserve_mb)
        promise = _promise(folder / name, memory_mb)
    try:
        yield
    finally:
        os.close(promise)


def _check(host: Host, folder: Path, name: str, memory_mb: int, reserve_mb: int) -> None:
    promised = _promises(folder)
    taken = {fact.name: fact.memory_mb for fact in host.domains().facts() if fact.state in ACTIVE}
    starting_mb = sum(mb for other, mb in promised.items() if other not in taken and other != name)
    used_mb = starting_mb + sum(mb for other, mb in taken.items() if other != name)
    available_mb = max(0, read_machine().memory_mb - reserve_mb)
    if used_mb + memory_mb > available_mb:
        raise StateError(
            f"{name} is not started: it needs {memory_mb} MB of memory, and this host has "
            f"{max(0, available_mb - used_mb)} MB left of {available_mb} MB for virtual machines ({used_mb} MB are "
            f"taken, {starting_mb} MB of them by starts in progress); stop others, or rocks set host vm {name} mem=MB"
        )


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
