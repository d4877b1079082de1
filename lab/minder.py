"""Starts a daemon and reaps what it leaves: `python3 -m lab.minder RECORD PROGRAM ARGUMENTS…`.

libvirtd's guests are nobody's children; when they end, process 1 must reap them, and until it does libvirt 9.0 takes
them for running: 40 s for each guest that is switched off, and then an error. In many containers process 1 reaps nobody
(`sleep infinity`, `tail -f`). So the daemon gets an ancestor that does. It ends with its last child.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.processes import identify, rename_this_process, write_record

_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h: orphans below come to us


def mind(record: Path, arguments: Sequence[str]) -> None:
    """Start the program, write its identity to `record`, and stay until nothing below is left."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"cannot become the one who reaps: {os.strerror(ctypes.get_errno())}")
    rename_this_process("rocks-minder")
    number = os.posix_spawn(arguments[0], list(arguments), os.environ)
    process = identify(number)
    if process is not None:
        write_record(record, process)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    mind(Path(sys.argv[1]), sys.argv[2:])
