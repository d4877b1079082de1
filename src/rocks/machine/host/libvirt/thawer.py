"""The process that thaws a guest's file systems if the one that froze them does not: `python3 -m … thawer NAME [MARK]`.

A frozen guest stands still at its next write, so nothing may leave it frozen: not a killed agent, and no guest agent
that freezes later than it was waited for. This process is in a session of its own. It prints `ready` before anything
is frozen. The line `thawed` on standard input ends it; when the input ends without it, or after `LONGEST_SECONDS`, it
thaws, and repeats that until the guest agent has answered or the guest has ended, for `TRY_SECONDS`. It removes the
marker file MARK, if one is given, when it was answered or the guest has ended. After the line `hold`, the end of the
input means nothing: another process thaws, and removes the marker file, and this one thaws once more for certain.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from pathlib import Path
from typing import IO, Callable, Optional, Sequence

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import RocksError
from rocks.machine.host.libvirt.driver import DomainDriver, is_active
from rocks.machine.host.libvirt.freezing import remove_mark

LONGEST_SECONDS = 90.0
"""A longer freeze than this is ended here, whatever the other process does."""

TRY_SECONDS = 600.0
_PAUSE_SECONDS = 2.0
_LOOK_SECONDS = 0.2


def main(arguments: Sequence[str]) -> int:
    """Wait, and thaw unless the other process reports that it has."""
    from rocks.machine.host.libvirt.domains import Domains  # late: the rest of this module needs no libvirt

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    name, mark = arguments[0], Path(arguments[1]) if len(arguments) > 1 else None
    Domains()  # before anything is frozen: whether libvirt answers this process
    print("ready", flush=True)
    if not was_thawed(sys.stdin.buffer, LONGEST_SECONDS, mark) and thaw(Domains, name, TRY_SECONDS):
        remove_mark(mark)
    return 0


def was_thawed(pipe: IO[bytes], seconds: float, mark: Optional[Path] = None) -> bool:
    """Whether the line `thawed` came before the pipe and the time ended; after `hold` False."""
    received = b""
    deadline = Deadline(seconds)
    while not deadline.passed():
        readable, _, _ = select.select([pipe], [], [], deadline.remaining_seconds())
        more = os.read(pipe.fileno(), 64) if readable else b""
        received += more
        if b"thawed\n" in received:
            return True
        if b"hold\n" in received and mark is not None:
            while mark.exists() and not deadline.passed():
                wait_seconds(_LOOK_SECONDS)
            return False
        if not more:
            return False
    return False


def thaw(connect: Callable[[], DomainDriver], name: str, seconds: float) -> bool:
    """Thaw, again and again; whether the guest agent has answered, or the guest has ended.

    `connect` is called each time: a connection from before a restart of libvirtd is of no use after it.
    """
    deadline = Deadline(seconds)
    while not deadline.passed():
        with contextlib.suppress(RocksError):
            domains = connect()
            if not is_active(domains, name) or domains.thaw(name) is not None:
                return True
        wait_seconds(_PAUSE_SECONDS)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
