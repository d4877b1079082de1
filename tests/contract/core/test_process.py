"""Programs: the deadline holds whatever they leave behind; a watch changes nothing of the result."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from rocks.core import process
from rocks.core.errors import ToolError
from rocks.core.process import run

_SLOW = (
    "import sys, time\n"
    "print(sys.stdin.read(), end='', flush=True)\n"
    "for number in range(4):\n"
    "    time.sleep(0.1)\n"
    "    print(number, end='', flush=True)\n"
    "print('bad', end='', file=sys.stderr)\n"
    "sys.exit(3)\n"
)


def test_a_watched_program_gets_its_input_and_has_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_WATCH_SECONDS", 0.02)
    seen: list[bytes] = []
    ended = run(
        [sys.executable, "-c", _SLOW], deadline_seconds=30, standard_input=b"x" * 100_000, watch=seen.append
    )
    whole = b"x" * 100_000 + b"0123"
    assert (ended.output, ended.error_output, ended.exit_status) == (whole, b"bad", 3)
    assert any(whole.startswith(part) and len(part) > 100_000 for part in seen), "before its end"
    assert seen == sorted(seen)


def test_a_watched_program_gets_all_input_though_it_reads_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds, and several looks before the program reads it."""
    monkeypatch.setattr(process, "_WATCH_SECONDS", 0.02)
    program = "import sys, time; time.sleep(0.3); print(len(sys.stdin.read()), end='')"
    ended = run(
        [sys.executable, "-c", program],
        deadline_seconds=30,
        standard_input=b"x" * 300_000,
        watch=lambda _: None,
    )
    assert ended.output == b"300000"


def test_a_watched_program_need_not_read_its_input() -> None:
    ended = run(["true"], deadline_seconds=30, standard_input=b"x" * 300_000, watch=lambda _: None)
    assert ended.exit_status == 0


def test_a_watched_program_has_the_same_deadline() -> None:
    with pytest.raises(ToolError, match=r"sleep did not end within 0\.7 s and was killed"):
        run(["sleep", "60"], deadline_seconds=0.7, watch=lambda output: None)


@pytest.mark.parametrize("watch", ["None", "lambda output: None"], ids=["", "watched"])
def test_a_program_that_ended_while_its_starter_was_stopped_ended_in_time(watch: str) -> None:
    """As on a machine that was stopped for longer than the deadline."""
    program = (
        "echo begun; kill -STOP $PPID; echo ended; (sleep 2; kill -CONT $PPID) </dev/null >/dev/null 2>&1 &"
    )
    call = f"run(['sh', '-c', {program!r}], deadline_seconds=1, watch={watch})"
    script = f"from rocks.core.process import run\nprint({call}.text)"
    path = {**os.environ, "PYTHONPATH": str(Path(process.__file__).parents[2])}
    ended = run([sys.executable, "-c", script], deadline_seconds=60, environment=path)
    assert ended.text.split() == ["begun", "ended"], ended.error_text


@pytest.mark.parametrize("watch", [None, lambda output: None], ids=["", "watched"])
@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("exec sleep 60", r"did not end within 0\.5 s, and neither it nor its output ended within 0\.5 s"),
        ("exit 0", r"has ended, but a process that it started did not close its output within 0\.5 s"),
    ],
    ids=["program runs", "program ended"],
)
def test_c6_a_grandchild_that_keeps_the_output_open_does_not_outlive_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch, then: str, message: str
) -> None:  # type: ignore[no-untyped-def]
    """It has a session of its own, so that the signal to the group does not reach it."""
    monkeypatch.setattr(process, "_REAP_SECONDS", 0.5)
    number = tmp_path / "number"
    script = f"setsid sh -c 'echo $$ >{number}; exec sleep 60' & while [ ! -s {number} ]; do :; done; {then}"
    with pytest.raises(ToolError, match=message):
        run(["sh", "-c", script], deadline_seconds=0.5, watch=watch)
    grandchild = int(number.read_text())
    os.kill(grandchild, signal.SIGKILL)  # ProcessLookupError if `run` had waited until it ended


def test_c6_pipes_are_closed_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_REAP_SECONDS", 0.2)
    before = len(list(Path("/proc/self/fd").iterdir()))
    script = "setsid sh -c 'echo $$; exec sleep 60' & sleep 60"
    outputs: list[bytes] = []
    with pytest.raises(ToolError):
        run(["sh", "-c", script], deadline_seconds=0.8, watch=outputs.append)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.kill(int(outputs[-1]), signal.SIGKILL)


def test_a_program_on_a_socket_reads_and_writes_it() -> None:
    program, far_end = process.start_on_socket(["cat"])
    with far_end:
        far_end.sendall(b"over")
        assert far_end.recv(16) == b"over"
        far_end.shutdown(socket.SHUT_WR)
        assert far_end.recv(16) == b"", "cat has ended"
    assert program.communicate(timeout=60)[1] == b""
    assert program.returncode == 0


def test_a_program_on_a_socket_that_does_not_exist_is_named() -> None:
    with pytest.raises(ToolError, match="cannot start /no/such/program: No such file or directory"):
        process.start_on_socket(["/no/such/program"])
