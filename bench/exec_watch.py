"""The time at which any process executes a program file, to the millisecond, from inotify.

/proc has only the time of a process's fork, in hundredths of a second, and libvirt still works after the fork.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from types import TracebackType

from rocks.core.errors import HostError, ToolError

_IN_OPEN = 0x20
_IN_CLOEXEC = 0o2000000
_WAIT_SECONDS = 2.0
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def now() -> float:
    """Seconds since the machine's boot, the clock of processes' start times."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ExecWatch:
    """Notes each opening of one program file while it is used in a `with`."""

    def __init__(self, program: str) -> None:
        """HostError when the kernel gives no watch."""
        library = ctypes.CDLL(None, use_errno=True)
        self._handle = library.inotify_init1(_IN_CLOEXEC)
        if self._handle < 0 or library.inotify_add_watch(self._handle, os.fsencode(program), _IN_OPEN) < 0:
            raise HostError(f"cannot watch {program}: {os.strerror(ctypes.get_errno())}")
        self._opened: list[float] = []
        self._end, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._note, daemon=True)

    def __enter__(self) -> ExecWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._stop)
        self._thread.join()
        os.close(self._end)
        os.close(self._handle)

    def executed(self, start_ticks: int) -> float:
        """When the process that was forked at `start_ticks` (clock ticks since boot) executed the file.

        ToolError when it was not seen to.
        """
        forked = start_ticks * _TICK_SECONDS - _TICK_SECONDS
        give_up = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < give_up:
            for moment in self._opened:
                if moment >= forked:
                    return moment
            time.sleep(0.01)
        raise ToolError("a guest's QEMU runs, but was not seen to be executed")

    def executed_before(self, start_ticks: int) -> float:
        """When the file was last executed before a process was forked at `start_ticks`, as by one that then daemonized.

        ToolError when it was not seen to.
        """
        forked = start_ticks * _TICK_SECONDS + _TICK_SECONDS
        moments = [moment for moment in self._opened if moment <= forked]
        if not moments:
            raise ToolError("a guest's QEMU runs, but was not seen to be executed")
        return moments[-1]

    def _note(self) -> None:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        poll.register(self._end, select.POLLHUP)
        while True:
            ready = dict(poll.poll())
            if self._handle in ready:
                self._opened.append(now())
                os.read(self._handle, 4096)
            elif self._end in ready:
                return
