"""What is made of a guest's serial console."""

from pathlib import Path

import pytest

from lab import console
from lab.console import Ready
from rocks.core.errors import HostError, ToolError


def test_a_report_is_read_wherever_it_stands_in_the_line() -> None:
    assert console.read_ready("guest ready: name=vm-a-0 mac=02:71:00:80:00:02") == Ready(
        "vm-a-0", "02:71:00:80:00:02"
    )
    assert console.read_ready("~ # guest ready: name=a mac=none") == Ready("a", "none")
    assert console.read_ready("guest ready: name=") is None


def test_a_line_is_displayed_without_terminal_controls() -> None:
    assert console.plain("\x1b[2J\x1b[31mred\x1b[0m\r\x07\ttab") == "red\ttab"


def test_only_new_lines_are_displayed_up_to_the_report(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"guest ready: name=old mac=1\r\n")
    start = console.size_of(log)
    with log.open("ab") as file:
        file.write(b"\r\nbooting\r\nguest ready: name=new mac=2\r\nshell\r\n")
    displayed: list[str] = []
    assert console.follow_until_ready(log, start, 1, displayed.append) == Ready("new", "2")
    assert displayed == ["booting", "guest ready: name=new mac=2"]


def test_a_log_that_has_begun_anew_is_read_from_its_start(tmp_path: Path) -> None:
    """A start of the guest removes the old log, and the new one is smaller for minutes."""
    log = tmp_path / "log"
    log.write_bytes(b"booting\r\nguest ready: name=a mac=2\r\n")
    displayed: list[str] = []
    assert console.follow_until_ready(log, 2607, 1, displayed.append) == Ready("a", "2")
    assert displayed == ["booting", "guest ready: name=a mac=2"]


def test_a_guest_that_never_reports_is_an_error_that_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no-log"):
        console.follow_until_ready(tmp_path / "no-log", 0, 0.1, print)


def test_a_machine_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="the machine of the guest has ended"):
        console.follow_until_ready(tmp_path / "no-log", 0, 60, print, lambda: False)


class Clock:
    """Time that passes only while somebody waits; a guest prints a line every minute, its report after some."""

    def __init__(self, log: Path, minutes: int) -> None:
        self.now, self._log, self._minutes = 0.0, log, minutes

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 60
        with self._log.open("a") as file:
            file.write("guest ready: name=a mac=2\n" if self.now == 60 * self._minutes else "booting\n")


def test_a_slow_guest_that_prints_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times as long as one that is silent."""
    for minutes in (4, 60):
        clock = Clock(tmp_path / f"log{minutes}", minutes)
        monkeypatch.setattr(console, "time", clock)
        if minutes == 4:
            assert console.follow_until_ready(tmp_path / "log4", 0, 120, print) == Ready("a", "2")
            continue
        with pytest.raises(ToolError, match="did not report within 600 s"):
            console.follow_until_ready(tmp_path / "log60", 0, 120, print)
