"""Processes are found by number and start time, and only those are ended."""

import os
import time
from pathlib import Path

from lab import processes
from lab.processes import ProcessIdentity
from rocks.core.process import start_in_background
from tests.waiting import wait_until

# Ignores being asked to end.
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def started(tmp_path: Path, *arguments: str) -> ProcessIdentity:
    process = processes.identify(start_in_background(arguments, tmp_path / "log"))
    assert process is not None
    return process


def test_a_process_that_ends_when_asked_is_not_killed_late(tmp_path: Path) -> None:
    process = started(tmp_path, "/usr/bin/sleep", "3600")
    begin = time.monotonic()
    processes.end([process], grace_seconds=600)
    assert not processes.is_alive(process) and time.monotonic() - begin < 300


def test_a_process_that_does_not_listen_is_killed_after_its_grace(tmp_path: Path) -> None:
    process = started(tmp_path, "/usr/bin/python3", "-c", STUBBORN)
    wait_until(lambda: b"up" in (tmp_path / "log").read_bytes(), "the process did not start")
    begin = time.monotonic()
    processes.end([process], grace_seconds=0.3)
    assert not processes.is_alive(process) and time.monotonic() - begin >= 0.3


def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    process = started(tmp_path, "/usr/bin/sleep", "3600")
    earlier = ProcessIdentity(process.process_id, process.start_ticks - 1)
    record = tmp_path / "record"
    processes.write_record(record, earlier)
    assert processes.read_record(record) is None
    processes.end([earlier], grace_seconds=1)
    assert processes.is_alive(process)
    processes.end([process], grace_seconds=1)


def test_every_user_reads_a_record_and_a_damaged_one_names_no_process(tmp_path: Path) -> None:
    record = tmp_path / "record"
    here = processes.identify(os.getpid())
    assert here is not None
    processes.write_record(record, here)
    assert record.stat().st_mode & 0o777 == 0o644
    assert processes.read_record(record) == here
    for damage in ("", "12", "one two", "1 2 3"):
        record.write_text(damage)
        assert processes.read_record(record) is None


def test_a_process_that_has_ended_and_waits_for_its_parent_is_not_alive(tmp_path: Path) -> None:
    number = start_in_background(["/usr/bin/true"], tmp_path / "log")
    wait_until(lambda: processes.identify(number) is None)
    assert Path(f"/proc/{number}").exists()  # a zombie: its parent has not waited for it
    os.waitpid(number, 0)
