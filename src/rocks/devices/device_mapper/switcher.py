"""The process that swaps a mapping's table: `python3 -m rocks.devices.device_mapper.switcher NAME`, once.

All that takes time is done before it says `ready`; then a line on standard input lets it go, and end of file there ends
it. What it says, one JSON object a line: `{"resumed": SECONDS}` when the device takes requests again, `{"ended":
SECONDS}` when the ioctl has returned, `{"errno": N}` when the kernel refused.

It is one ioctl. For a device with a loaded table, DM_DEV_SUSPEND without its flag suspends, swaps and resumes
(do_resume in drivers/md/dm-ioctl.c, 6.1), so no death of a process leaves a guest's disk suspended. While the kernel
waits for requests to end it can be interrupted by a signal, SIGKILL as well: the live table then goes on, the other
stays loaded.
DM_NOFLUSH_FLAG is not set: no target here can push requests back, they must end. DM_SKIP_LOCKFS_FLAG is: a file system
on a guest's disk is the guest's own.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import time
from typing import List

from rocks.devices.device_mapper.ioctl import (
    DEV_SUSPEND,
    SKIP_LOCKFS_FLAG,
    STATUS_TABLE_FLAG,
    SUSPEND_FLAG,
    TABLE_STATUS,
    Control,
)
from rocks.devices.device_mapper.nodes import COOKIE

_LOCK_ALL = 3  # MCL_CURRENT | MCL_FUTURE
_POLL_SECONDS = 0.0005


def main(words: List[str]) -> int:
    """Wait for the word, swap, tell."""
    name = words[0]
    with Control() as control, Control() as watching:
        watch = _Watch(watching, name)
        ctypes.CDLL(None, use_errno=True).mlockall(_LOCK_ALL)  # without the right to it, pages may be missing
        _send("ready", True)
        if not sys.stdin.readline():
            return 1
        watch.begin()
        try:
            control.ask(DEV_SUSPEND, name, SKIP_LOCKFS_FLAG, event=COOKIE)
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
    """A thread that sees when the new table takes requests.

    The ioctl itself returns later: it first takes the old table apart, which for a merged snapshot's took 0.7 to
    4.5 s in the lab, while requests flow.
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
        reply = self._control.ask(TABLE_STATUS, self._name, STATUS_TABLE_FLAG)
        return bool(reply.flags & SUSPEND_FLAG), reply.data


def _send(what: str, value: object) -> None:
    print(json.dumps({what: value}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
