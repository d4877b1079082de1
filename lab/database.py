"""The private MariaDB of a machine.

It is started inside the machine's namespace, for outside its folders may lie where no other user may look.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab import mariadb
from lab.mariadb import MariadbPlace
from lab.namespace import CHECKOUT, Machine

FOLDER = "/var/opt/rocks/mysql"
SOCKET = f"{FOLDER}/mysql.sock"
_NAME = "mariadbd"
_START_DEADLINE_SECONDS = 200.0
_STOP_GRACE_SECONDS = 30.0


def start(machine: Machine) -> None:
    """Have the machine's database server running, its data folder made at the first time. ToolError when it fails."""
    path = f"PYTHONPATH={CHECKOUT}:{CHECKOUT / 'src'}"
    program = ["/usr/bin/env", path, sys.executable, "-m", "lab.database", str(machine.folder)]
    machine.run_checked(program, _START_DEADLINE_SECONDS)


def is_running(machine: Machine) -> bool:
    """Whether the server runs."""
    return machine.daemon(_NAME) is not None


def stop(machine: Machine) -> list[str]:
    """End the server; returns a line for each thing done."""
    return [f"ended {_NAME}"] if machine.stop_daemon(_NAME, _STOP_GRACE_SECONDS) else []


def _start_here(machine_folder: Path) -> None:
    """Started inside the namespace: paths as the server sees them, its record where the machine looks for daemons."""
    machine = Machine(machine_folder)
    place = MariadbPlace(
        data_folder=Path(FOLDER, "data"),
        socket_path=Path(SOCKET),
        log_path=machine.log_folder / f"{_NAME}.log",
        pid_path=machine.record_of(_NAME),
    )
    place.data_folder.parent.mkdir(mode=0o755, exist_ok=True)
    mariadb.ensure_initialised(place)
    mariadb.start(place)


if __name__ == "__main__":
    from rocks.core.errors import RocksError

    try:
        _start_here(Path(sys.argv[1]))
    except RocksError as error:
        sys.exit(str(error))
