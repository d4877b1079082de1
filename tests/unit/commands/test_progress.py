"""Progress of a command that waits for several hosts."""

import io
import sys

import pytest

from rocks.commands._framework import progress as progress_module
from rocks.commands._framework.base import Command
from rocks.commands._framework.progress import HostProgress
from rocks.core.errors import StateError
from rocks.database.connection import UnconfiguredDatabase


class Terminal(io.StringIO):
    """Standard error that is a terminal, or a log."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """As it was made."""
        return self._is_terminal


def printed(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, answers: list[tuple[float, int]], total: int
) -> str:
    """What a command prints when `answers` are (seconds, hosts that have answered)."""
    now = [0.0]
    monkeypatch.setattr(progress_module, "monotonic_seconds", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", Terminal(is_terminal))
    command = Command(UnconfiguredDatabase(StateError("none")))
    command.useArguments({}, [], stream=True)
    report = HostProgress(command)
    for seconds, answered in answers:
        now[0] = seconds
        report(answered, total, f"h{answered}" if answered else "")
    assert isinstance(sys.stderr, Terminal)
    return sys.stderr.getvalue()


def test_on_a_terminal_each_answer_replaces_the_line_and_the_last_erases_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert printed(monkeypatch, True, [(0, 0), (1, 1), (2, 2)], 2) == (
        "\r\033[K0 of 2 hosts have answered\r\033[K1 of 2 hosts have answered, h1 last\r\033[K"
    )


def test_in_a_log_there_is_a_line_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(0.0, 0), (1.0, 1), (6.0, 2), (7.0, 3), (12.0, 4), (13.0, 5)]
    assert printed(monkeypatch, False, answers, 5) == (
        "2 of 5 hosts have answered, h2 last\n4 of 5 hosts have answered, h4 last\n"
    )


def test_a_quick_command_and_one_host_print_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, False, [(0, 0), (1, 1), (2, 2), (3, 3)], 3) == ""
    assert printed(monkeypatch, True, [(0, 0), (60, 1)], 1) == ""
