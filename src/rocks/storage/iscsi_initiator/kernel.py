"""Settings of a session and its disk in sysfs.

Some writes wait for the NAS and cannot be interrupted. A child process does them, which can be abandoned; it ends with
the session at the latest.
"""

from __future__ import annotations

from pathlib import Path

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import ToolError
from rocks.core.process import start_with_pipes
from rocks.storage.iscsi_initiator.driver import LOGGED_IN
from rocks.storage.iscsi_initiator.listing import SYSTEM, KernelSession

_POLL_SECONDS = 0.02
_COMMAND_SECONDS = "180"
_NO_RETRY_LIMIT = "-1"
_LUN_0 = "- - 0"
_OFF = "off"


def scan_disk(session: KernelSession, deadline_seconds: float) -> None:
    """Scan the target for LUN 0 only."""
    write_within(SYSTEM / "class/scsi_host" / session.host / "scan", _LUN_0, deadline_seconds)


def read_disk_again(session: KernelSession, deadline_seconds: float) -> None:
    """Have the kernel ask the target for size and write protection, after it has ended its first questions."""
    if session.disk_folder is not None:
        write_within(session.disk_folder / "device/rescan", "1", deadline_seconds)


def detach_disk(session: KernelSession, deadline_seconds: float) -> None:
    """Flush and remove the disk."""
    if session.disk_folder is not None:
        write_within(session.disk_folder / "device/delete", "1", deadline_seconds)


def wait_without_limit(session: KernelSession) -> None:
    """Let I/O wait for a lost NAS without limit, and disable shorter SCSI timeouts.

    A session that is down rejects some settings, but has them since its login. ToolError when a session that is up
    does not accept them.
    """
    if not _set(session.folder / "recovery_tmo", _OFF) and session.fact.state == LOGGED_IN:
        raise ToolError(
            f"the kernel of this host did not disable the replacement timeout of {session.fact.target}, so losing the "
            "NAS would invalidate a snapshot above its disk"
        )
    _set(SYSTEM / "class/scsi_host" / session.host / "eh_deadline", _OFF)
    if session.disk_folder is not None:
        _set(session.disk_folder / "device/timeout", _COMMAND_SECONDS)
        for disk in session.disk_folder.glob("device/scsi_disk/*"):
            # else a retried request fails after six timeouts (scsi_cmd_runtime_exceeced)
            _set(disk / "max_retries", _NO_RETRY_LIMIT)


def write_within(path: Path, text: str, deadline_seconds: float) -> bool:
    """Whether the kernel accepted the value in time; a blocked child process is abandoned."""
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
    """Whether the file has the value afterwards."""
    try:
        if path.read_text("ascii").strip() != value:
            path.write_text(value, "ascii")
        return path.read_text("ascii").strip() == value
    except OSError:
        return False
