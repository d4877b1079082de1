"""`tools/paper-hardware` where the hardware is not there."""

import os
from pathlib import Path

from rocks.core.process import Finished, run
from tests.contract.ssh_programs import path_with, write_ssh_programs

PROGRAM = Path(__file__).parents[3] / "tools" / "paper-hardware"
NAMES = ("host-0", "host-1", "host-2", "guest-0", "guest-1", "guest-2")


def called(folder: Path, *arguments: str) -> Finished:
    environment = {**os.environ, "PATH": path_with(folder / "ssh" / "programs")}
    return run([str(PROGRAM), *arguments], deadline_seconds=60.0, environment=environment)


def test_what_is_missing_is_named_and_nothing_is_measured(tmp_path: Path) -> None:
    write_ssh_programs(tmp_path / "ssh")
    (tmp_path / "ssh" / "away" / "guest-2").touch()
    found = called(tmp_path, str(tmp_path), *NAMES)
    assert (found.exit_status, found.text) == (2, "")
    lines = found.error_text.splitlines()
    assert f"  {tmp_path}/pw.in, the input of pw.x" in lines
    for name in NAMES[:-1]:
        assert f"  {name} lacks: the program pw.x" in lines
        assert f"  {name} lacks: an active port of InfiniBand" in lines
    assert "  host-0 lacks: virtual functions of its adapter" in lines
    assert "  guest-0 lacks: virtual functions of its adapter" not in lines
    assert "  guest-2 does not answer by SSH" in lines
    assert list((tmp_path / "ssh" / "host-0").iterdir()) == []


def test_another_number_of_machines_is_refused(tmp_path: Path) -> None:
    write_ssh_programs(tmp_path / "ssh")
    found = called(tmp_path, str(tmp_path), *NAMES[:-1])
    assert found.exit_status == 1 and "usage: tools/paper-hardware FOLDER HOST" in found.error_text
