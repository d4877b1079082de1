"""First program in a machine's new mount namespace: makes its mounts, records itself, and stays as its holder.

It finishes by itself when whoever started it was killed meanwhile, so no namespace is left that nobody knows of.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from lab.namespace import FOLDERS, Machine, bind_arguments
from lab.processes import identify, rename_this_process, write_record
from rocks.errors import RocksError, ToolError
from rocks.process import run_checked

_MOUNT_DEADLINE_SECONDS = 10.0


def hold(machine: Machine) -> NoReturn:
    """Make the mounts, write the record, and do nothing from then on. ToolError when a mount fails.

    It stays the program that it is, so that a list of processes shows which machine it holds.
    """
    rename_this_process("rocks-holder")
    for place in FOLDERS:
        run_checked(bind_arguments(machine.outside(place), place), deadline_seconds=_MOUNT_DEADLINE_SECONDS)
    process = identify(os.getpid())
    if process is None:
        raise ToolError("/proc does not show this process; is it mounted?")
    write_record(machine.holder_record, process)
    while True:
        signal.pause()


if __name__ == "__main__":
    try:
        hold(Machine(Path(sys.argv[1])))
    except RocksError as error:
        sys.exit(str(error))
