"""Programs: the deadline holds whatever they leave behind; a watch changes nothing of the result."""

import gc
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from rocks.core import process
from rocks.core.errors import ToolError
from rocks.core.process import run
from tests.contract.outcomes import refused
from tests.patience import patience

_PROGRAM = """
import os, sys, time
print(sys.stdin.read() + "0", end="", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print("123", end="", flush=True)
print("bad", end="", file=sys.stderr)
sys.exit(3)
"""
"""It ends when a watch has seen a part of its output."""


def test_a_watched_program_gets_its_input_and_has_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_WATCH_SECONDS", 0.02)
    seen: list[bytes] = []

    def watch(part: bytes) -> None:
        seen.append(part)
        if len(part) > 100_000:
            (tmp_path / "seen").touch()

    program = [sys.executable, "-c", _PROGRAM, str(tmp_path / "seen")]
    ended = run(program, deadline_seconds=patience(30), standard_input=b"x" * 100_000, watch=watch)
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
        deadline_seconds=patience(30),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", ["", "watch=lambda output: None", "max_bytes=1000"], ids=["", "watched", "bounded"]
)
def test_a_program_that_ended_while_its_starter_was_stopped_ended_in_time(more: str) -> None:
    """As on a machine that was stopped for longer than the deadline."""
    program = (
        "echo begun; kill -STOP $PPID; echo ended; (sleep 2; kill -CONT $PPID) </dev/null >/dev/null 2>&1 &"
    )
    call = f"run(['sh', '-c', {program!r}], deadline_seconds=1, {more})"
    script = f"from rocks.core.process import run\nprint({call}.text)"
    path = {**os.environ, "PYTHONPATH": str(Path(process.__file__).parents[2])}
    ended = run([sys.executable, "-c", script], deadline_seconds=60, environment=path)
    assert ended.text.split() == ["begun", "ended"], ended.error_text


@pytest.mark.slow
@pytest.mark.parametrize("watch", [None, lambda output: None], ids=["", "watched"])
@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("exec sleep 600", "did not end within {} s, and neither it nor its output ended within 0.5 s"),
        ("exit 0", "has ended, but a process that it started did not close its output within {} s"),
    ],
    ids=["program runs", "program ended"],
)
def test_c6_a_grandchild_that_keeps_the_output_open_does_not_outlive_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch, then: str, message: str
) -> None:  # type: ignore[no-untyped-def]
    """It has a session of its own, so that the signal to the group does not reach it."""
    monkeypatch.setattr(process, "_REAP_SECONDS", 0.5)
    number, seconds = (
        tmp_path / "number",
        patience(1),
    )  # in which the program comes to its end, or to its sleep
    script = f"setsid sh -c 'echo $$ >{number}; exec sleep 600' & while [ ! -s {number} ]; do :; done; {then}"
    text = re.escape(message.format(f"{seconds:g}"))
    refused(ToolError, text, run, ["sh", "-c", script], deadline_seconds=seconds, watch=watch)
    grandchild = int(number.read_text())
    os.kill(grandchild, signal.SIGKILL)  # ProcessLookupError if `run` had waited until it ended


@pytest.mark.slow
def test_c6_pipes_are_closed_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_REAP_SECONDS", 0.2)
    gc.collect()  # what earlier tests have left is not closed meanwhile
    before = len(list(Path("/proc/self/fd").iterdir()))
    script = "setsid sh -c 'echo $$; exec sleep 600' & sleep 600"
    outputs: list[bytes] = []
    refused(ToolError, "", run, ["sh", "-c", script], deadline_seconds=patience(0.8), watch=outputs.append)
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


@pytest.mark.parametrize("program", ["exec yes", "exec yes >&2"])
def test_a_program_that_prints_without_end_is_killed(program: str) -> None:
    with pytest.raises(ToolError, match="sh printed more than 100000 bytes and was killed"):
        run(["sh", "-c", program], deadline_seconds=30, max_bytes=100_000)


def test_a_bounded_program_gives_all_that_it_prints() -> None:
    ended = run(
        ["sh", "-c", "cat; echo no >&2; exit 3"],
        deadline_seconds=30,
        standard_input=b"a" * 99_000,
        max_bytes=100_000,
    )
    assert (ended.exit_status, len(ended.output), ended.error_text) == (3, 99_000, "no")
    for program in (["sleep", "30"], ["sh", "-c", "exec >&- 2>&-; exec sleep 30"]):
        with pytest.raises(ToolError, match="did not end within 0.2 s and was killed"):
            run(program, deadline_seconds=0.2, max_bytes=1)


def test_a_program_has_the_descriptors_that_are_given_to_it_and_no_others(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    program = [
        sys.executable,
        "-c",
        "import os, sys; print(os.fstat(int(sys.argv[1])).st_ino)",
        str(descriptor),
    ]
    for bound in (None, 1000):
        ended = run(program, deadline_seconds=patience(30), max_bytes=bound, descriptors=[descriptor])
        assert ended.text == f"{tmp_path.stat().st_ino}\n"
        assert (
            "Bad file descriptor" in run(program, deadline_seconds=patience(30), max_bytes=bound).error_text
        )
    os.close(descriptor)
