"""Processes that outlive the program that started them: recorded by number and start time, ended only when both agree.

After a crash or a reboot, the number may be that of another process.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rocks.core.errors import BusyError, ToolError

_KILL_DEADLINE_SECONDS = 10.0
_STATE_FIELD, _PARENT_FIELD, _START_FIELD = (
    0,
    1,
    19,
)  # counted behind the closing bracket of the name: proc(5), fields 3, 4 and 22


class ProcessIdentity(NamedTuple):
    """A process: its number, and its start in clock ticks since the machine's boot."""

    process_id: int
    start_ticks: int


def identify(process_id: int, proc: Path = Path("/proc")) -> ProcessIdentity | None:
    """The process that has this number now; None when there is none or it has ended already (a zombie).

    `proc` is the proc file system of the process namespace in which the number holds.
    """
    fields = _stat_fields(process_id, proc)
    if not fields or fields[_STATE_FIELD] in ("Z", "X"):
        return None
    return ProcessIdentity(process_id, int(fields[_START_FIELD]))


def is_alive(process: ProcessIdentity) -> bool:
    """Whether this very process still runs."""
    return identify(process.process_id) == process


def parent_of(process_id: int) -> int:
    """The number of the parent; 0 when there is none or the process has ended."""
    fields = _stat_fields(process_id, Path("/proc"))
    return int(fields[_PARENT_FIELD]) if fields else 0


def number_inside(process_id: int) -> int:
    """The number that the process has in the innermost process namespace that it is in; 0 when it has ended."""
    try:
        text = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("NSpid:")), "NSpid: 0")
    return int(line.split()[-1])


def command_name(process_id: int) -> str:
    """The kernel's name of the process, at most 15 characters; empty when it is gone."""
    try:
        return Path(f"/proc/{process_id}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def rename_this_process(name: str) -> None:
    """Give this process a name of its own in lists of processes, at most 15 characters."""
    Path("/proc/self/comm").write_text(name, encoding="ascii")


def all_process_ids() -> list[int]:
    """Numbers of all processes of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - names only, thousands


def write_record(path: Path, process: ProcessIdentity) -> None:
    """Keep a process in a file, which every user may read. The file appears whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    draft.touch()
    draft.chmod(0o644)
    draft.write_text(f"{process.process_id} {process.start_ticks}\n", encoding="ascii")
    draft.rename(path)


def read_record(path: Path, proc: Path = Path("/proc")) -> ProcessIdentity | None:
    """The recorded process if it still runs; None when there is no record, it is damaged, or the process has ended.

    `proc` is the proc file system of the process namespace in which the record was written.
    """
    try:
        number, start = path.read_text(encoding="ascii").split()
        process = ProcessIdentity(int(number), int(start))
    except (OSError, ValueError):
        return None
    return process if identify(process.process_id, proc) == process else None


def end(processes: Iterable[ProcessIdentity], grace_seconds: float) -> None:
    """Ask the processes to end, and kill those that have not after `grace_seconds`.

    Only these very processes are touched, even if a number is given away meanwhile. ToolError when one survives.
    """
    handles = {handle: process for process in processes if (handle := open_handle(process)) is not None}
    try:
        left = (
            _signal_and_wait(set(handles), signal.SIGTERM, grace_seconds)
            if grace_seconds > 0
            else set(handles)
        )
        left = _signal_and_wait(left, signal.SIGKILL, _KILL_DEADLINE_SECONDS)
        if left:
            numbers = ", ".join(str(handles[handle].process_id) for handle in left)
            raise ToolError(f"process {numbers} does not end although it was killed; see its state by `ps`")
    finally:
        for handle, process in handles.items():
            os.close(handle)
            _reap(process.process_id)


def wait_until_ended(process: ProcessIdentity, deadline_seconds: float) -> bool:
    """Wait for the process to end by itself; whether it did in time."""
    handle = open_handle(process)
    if handle is None:
        return True
    try:
        return not _wait({handle}, deadline_seconds)
    finally:
        os.close(handle)
        _reap(process.process_id)


def _stat_fields(process_id: int, proc: Path) -> list[str]:
    try:
        text = (proc / f"{process_id}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 1 :].split()


def open_handle(process: ProcessIdentity) -> int | None:
    """A file descriptor of exactly this process, readable when it has ended; None when it has ended already."""
    try:
        handle = os.pidfd_open(process.process_id)
    except OSError:
        return None
    if is_alive(process):  # asked after opening: from here on the handle means this process and no later one
        return handle
    os.close(handle)
    return None


def _signal_and_wait(handles: set[int], number: signal.Signals, deadline_seconds: float) -> set[int]:
    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass  # it ended by itself
    return _wait(handles, deadline_seconds)


def _wait(handles: set[int], deadline_seconds: float) -> set[int]:
    """Handles of the processes that still run at the deadline. A handle becomes readable when its process ends."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    left = set(handles)
    end_at = time.monotonic() + deadline_seconds
    while left and (remaining := end_at - time.monotonic()) > 0:
        for handle, _events in poll.poll(remaining * 1000):
            poll.unregister(handle)
            left.discard(handle)
    return left


def _reap(process_id: int) -> None:
    try:
        os.waitpid(process_id, os.WNOHANG)
    except ChildProcessError:
        pass  # the child of another process


@contextmanager
def locked(path: Path, refusal: str, descriptor: int | None = None) -> Iterator[None]:
    """While no other process has locked the file, which is made; BusyError with the refusal if one has.

    `descriptor`: the open file, where the program that started this one has locked it for both.
    """
    if descriptor is None:
        # mode 0600: a lock on a file that others can open could be theirs
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.set_inheritable(descriptor, False)
        os.fchmod(descriptor, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(refusal) from None
        yield
    finally:
        os.close(descriptor)
