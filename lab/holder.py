"""First program in a machine's new mount namespace: makes its mounts, records itself, and stays as its holder.

It finishes by itself when whoever started it was killed meanwhile, so no namespace is left that nobody knows of.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lab.namespace import FOLDERS, Machine, bind_arguments
from lab.processes import identify, write_record
from rocks.errors import RocksError, ToolError
from rocks.process import replace_this_process, run_checked

_MOUNT_DEADLINE_SECONDS = 10.0


def hold(machine: Machine) -> None:
    """Make the mounts, write the record, become a process that sleeps. ToolError when a mount fails."""
    for place in FOLDERS:
        run_checked(bind_arguments(machine.outside(place), place), deadline_seconds=_MOUNT_DEADLINE_SECONDS)
    process = identify(os.getpid())
    if process is None:
        raise ToolError("/proc does not show this process; is it mounted?")
    write_record(machine.holder_record, process)
    replace_this_process(["/usr/bin/sleep", "infinity"])


if __name__ == "__main__":
    try:
        hold(Machine(Path(sys.argv[1])))
    except RocksError as error:
        sys.exit(str(error))
