"""The kernel's switches of a session and its disk.

Some of them wait for the NAS, beyond any signal. They are thrown by a small program then, which can be left behind; it
ends with the session at the latest.
"""

from __future__ import annotations

from pathlib import Path

from rocks.clock import Deadline, wait_seconds
from rocks.devices.iscsi_initiator.driver import LOGGED_IN
from rocks.devices.iscsi_initiator.listing import SYSTEM, KernelSession
from rocks.errors import ToolError
from rocks.process import start_with_pipes

_POLL_SECONDS = 0.02
_COMMAND_SECONDS = "180"
_AS_OFTEN_AS_IT_TAKES = "-1"
_LUN_0 = "- - 0"
_WITHOUT_END = "off"


def look_for_disk(session: KernelSession, deadline_seconds: float) -> None:
    """Have the kernel ask the target for LUN 0, and for no other."""
    write_within(SYSTEM / "class/scsi_host" / session.host / "scan", _LUN_0, deadline_seconds)


def detach_disk(session: KernelSession, deadline_seconds: float) -> None:
    """Have the kernel flush the disk and forget it."""
    if session.disk_folder is not None:
        write_within(session.disk_folder / "device/delete", "1", deadline_seconds)


def wait_for_ever(session: KernelSession) -> None:
    """Have requests wait for a lost NAS without end, and no time-out of SCSI's own before it is noticed.

    A session that is down just now refuses some of it; it was set when it was made. ToolError when one that is up
    would not wait.
    """
    if not _set(session.folder / "recovery_tmo", _WITHOUT_END) and session.fact.state == LOGGED_IN:
        raise ToolError(
            f"the kernel of this host would not wait for a lost NAS of {session.fact.target}, "
            "and a snapshot above its disk would be lost with it"
        )
    _set(SYSTEM / "class/scsi_host" / session.host / "eh_deadline", _WITHOUT_END)
    if session.disk_folder is not None:
        _set(session.disk_folder / "device/timeout", _COMMAND_SECONDS)
        for disk in session.disk_folder.glob("device/scsi_disk/*"):
            # else a request that is tried again fails once it is older than six time-outs (scsi_cmd_runtime_exceeced)
            _set(disk / "max_retries", _AS_OFTEN_AS_IT_TAKES)


def write_within(path: Path, text: str, deadline_seconds: float) -> bool:
    """Whether the kernel has taken it in time; a program that is stuck in it is left behind."""
    process = start_with_pipes(["tee", str(path)])
    pipes = [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe is not None]
    try:
        pipes[0].write(text.encode())
        pipes[0].close()
        deadline = Deadline(deadline_seconds)
        while process.poll() is None:
            if deadline.passed():
                process.kill()
                return False
            wait_seconds(_POLL_SECONDS)
        return process.returncode == 0
    finally:
        for pipe in pipes:
            pipe.close()


def _set(path: Path, value: str) -> bool:
    """Whether it is so."""
    try:
        if path.read_text("ascii").strip() != value:
            path.write_text(value, "ascii")
        return path.read_text("ascii").strip() == value
    except OSError:
        return False
