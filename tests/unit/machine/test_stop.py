"""The resources of machines that have ended are released by a command, one after the other."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.machine.stop import Force, Termination, run_fence_command

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


# The program that switches a host off.

FORCE = Force("test")


def test_a_password_before_the_program_is_in_no_argument_list(tmp_path: Path) -> None:
    program, seen = tmp_path / "power", tmp_path / "seen"
    program.write_text(
        f"#!/bin/sh\ntr '\\0' ' ' </proc/$$/cmdline >{seen}\n[ \"$POWER_PASSWORD\" = 'hush & b' ]\n"
    )
    program.chmod(0o700)
    assert run_fence_command("h1", f"POWER_PASSWORD='hush & b' {program} off a&b", FORCE) == (
        "the fence command of h1 succeeded"
    )
    assert seen.read_text().split()[-2:] == ["off", "a&b"]
    assert "hush" not in seen.read_text()


@pytest.mark.parametrize("command", ["POWER_PASSWORD=hush", "  ", "/bin/false"])
def test_a_command_that_runs_nothing_proves_nothing(command: str) -> None:
    answer = run_fence_command("h1", command, FORCE)
    assert isinstance(answer, HostError)
    assert "hush" not in str(answer)
