"""The process that switches the table of a device once: `python3 -m rocks.storage.device_mapper.switch_process NAME`.

All slow work is done before it prints `ready`. A line on standard input starts the switch; end of file ends the
process. It prints JSON lines: `{"resumed": SECONDS}` when the device accepts I/O again, `{"ended": SECONDS}` when the
ioctl has returned, `{"errno": N}` for an error of the kernel.

The switch is one ioctl. For a device with an inactive table, DM_DEV_SUSPEND without its flag suspends, swaps and
resumes (do_resume in drivers/md/dm-ioctl.c, 6.1), so a killed process cannot leave a guest's disk suspended. While the
kernel waits for I/O in flight, a signal (also SIGKILL) interrupts it: the live table then stays, the other remains
inactive.

DM_NOFLUSH_FLAG is not set: no target used here can requeue I/O, so it must complete. DM_SKIP_LOCKFS_FLAG is set: the
host has not mounted the file systems of a guest's disk.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import time
from typing import List

from rocks.storage.device_mapper.ioctl import (
    COOKIE,
    DEV_SUSPEND,
    SKIP_LOCKFS_FLAG,
    STATUS_TABLE_FLAG,
    SUSPEND_FLAG,
    TABLE_STATUS,
    Control,
)

_LOCK_ALL = 3  # MCL_CURRENT | MCL_FUTURE
_POLL_SECONDS = 0.0005


def main(arguments: List[str]) -> int:
    """Wait for the request, switch, report."""
    name = arguments[0]
    with Control() as control, Control() as watching:
        watch = _Watch(watching, name)
        # without the privilege, a page fault may delay the switch
        ctypes.CDLL(None, use_errno=True).mlockall(_LOCK_ALL)
        _send("ready", True)
        if not sys.stdin.readline():
            return 1
        watch.begin()
        try:
            control.call(DEV_SUSPEND, name, SKIP_LOCKFS_FLAG, event=COOKIE)
        except OSError as error:
            _send("errno", error.errno or 0)
            return 1
        finally:
            ended = time.monotonic()
            watch.end()
        if not watch.has_seen:
            _send("resumed", ended - watch.began)
        _send("ended", ended - watch.began)
    return 0


class _Watch:
    """A thread that detects when the new table accepts I/O.

    The ioctl returns later: it destroys the old table, which took 0.7 to 4.5 s for a merged snapshot in the lab, while
    I/O continues.
    """

    def __init__(self, control: Control, name: str) -> None:
        self._control = control
        self._name = name
        self._go = threading.Event()
        self._ended = threading.Event()
        self._before = self._table()
        self.began = 0.0
        self.has_seen = False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        self.began = time.monotonic()
        self._go.set()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        self._go.wait()
        while not self._ended.wait(_POLL_SECONDS):
            suspended, table = self._table()
            if not suspended and table != self._before[1]:
                _send("resumed", time.monotonic() - self.began)
                self.has_seen = True
                return

    def _table(self) -> "tuple[bool, bytes]":
        reply = self._control.call(TABLE_STATUS, self._name, STATUS_TABLE_FLAG)
        return bool(reply.flags & SUSPEND_FLAG), reply.data


def _send(what: str, value: object) -> None:
    print(json.dumps({what: value}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
