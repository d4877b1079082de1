"""Running `zfs send` and `zfs receive` processes."""

from __future__ import annotations

import fcntl
import os
import signal
from typing import IO, Any, Sequence

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, ToolError
from rocks.core.process import start_with_pipes
from rocks.storage.zfs.tool import one_line, plain_environment, zfs_error

_F_SETPIPE_SZ = 1031  # linux/fcntl.h; the module has it from Python 3.10
# the limit for unprivileged processes; with the default of 64 KiB the processes alternate too often
_PIPE_BYTES = 1 << 20
_POLL_SECONDS = 0.02
_DEATH_SECONDS = 60.0  # a receive can be killed only between two transaction groups


class StreamProcess:
    """A `Transfer` by a process and one end of its pipe."""

    def __init__(self, process: Any, stream: IO[bytes], what: str) -> None:
        self.stream = stream
        self._process = process
        self._what = what
        self._was_killed = False
        fcntl.fcntl(stream.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)

    def finish(self, deadline: Deadline) -> None:
        self._close_stream()
        while self._process.poll() is None:
            if deadline.passed():
                self.kill()
                raise ToolError(f"zfs {self._what} did not end in time and was killed")
            wait_seconds(_POLL_SECONDS)
        message = self._error_text()
        status = self._process.returncode
        if self._was_killed:
            raise ToolError(f"zfs {self._what} was killed")
        if status < 0:
            raise ToolError(f"zfs {self._what} was ended by signal {-status}: {one_line(message)}")
        if status > 0:
            raise zfs_error(self._what, message)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._was_killed = True
            os.killpg(self._process.pid, signal.SIGKILL)
            deadline = Deadline(_DEATH_SECONDS)
            while self._process.poll() is None:
                if deadline.passed():
                    raise HostError(
                        f"zfs {self._what} cannot be killed: the pool may hang; see `zpool status`"
                    )
                wait_seconds(_POLL_SECONDS)
        self._close_stream()
        self._error_text()

    def _error_text(self) -> str:
        if self._process.stderr.closed:
            return ""
        with self._process.stderr as errors:
            return bytes(errors.read()).decode("utf-8", "replace")

    def _close_stream(self) -> None:
        try:
            self.stream.close()
        except BrokenPipeError:
            pass  # zfs has ended; its exit status and message give the reason


def send_process(arguments: Sequence[str], name: str) -> StreamProcess:
    """A `zfs send`; its stream is read."""
    process: Any = start_with_pipes(("zfs", *arguments), plain_environment())
    process.stdin.close()
    return StreamProcess(process, process.stdout, f"send of {name}")


def receive_process(arguments: Sequence[str], name: str) -> StreamProcess:
    """A `zfs receive`; its stream is written."""
    process: Any = start_with_pipes(("zfs", *arguments), plain_environment())
    process.stdout.close()
    return StreamProcess(process, process.stdin, f"receive into {name}")
