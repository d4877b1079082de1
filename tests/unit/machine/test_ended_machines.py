"""The resources of machines that have ended are released by a command, one after the other."""

import queue
from pathlib import Path

from rocks.machine.stop import Termination

SECONDS = 30


def test_the_command_runs_and_its_failure_is_logged(tmp_path: Path) -> None:
    program, record = tmp_path / "rocks", tmp_path / "record"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{record}\n[ "$4" != broken ] || {{ echo why >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    logged: queue.SimpleQueue[str] = queue.SimpleQueue()
    termination = Termination(str(program), logged.put)
    termination.put(["web", "db"])
    termination.put(["broken"])
    line = logged.get(timeout=SECONDS)
    assert "broken" in line and "why" in line and "rocks stop host vm broken terminate=yes" in line
    assert record.read_text().splitlines() == [
        "stop host vm web db terminate=yes",
        "stop host vm broken terminate=yes",
    ]
