"""Watched programs: the same result as without a watch, and the output so far."""

from __future__ import annotations

import sys

import pytest

from rocks import process
from rocks.errors import ToolError
from rocks.process import run

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
