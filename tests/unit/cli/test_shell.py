"""`rocks shell`: many command lines in one process."""

import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess  # noqa: TID251 - with a terminal of its own, to which a test types
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rocks.site import shell_history
from tests.command_trees import WriteCommand
from tests.patience import patience
from tests.unit.cli.conftest import Outcome, Rocks

SECONDS = 180
Feed = Callable[..., Outcome]


@pytest.fixture
def feed(rocks: Rocks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Feed:
    """`feed(b"report version\\n", "on-error=stop")`: the shell with this input, which is no terminal."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(content: bytes, *arguments: str) -> Outcome:
        stream = SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(content))
        monkeypatch.setattr(sys, "stdin", stream)
        return rocks("shell", *arguments)

    return run


def test_each_line_is_a_command(feed: Feed) -> None:
    """Empty lines, comments and the word rocks are passed over; nothing after exit is run."""
    outcome = feed(
        b"report version\n\n  # rocks report version\nrocks report version\nexit\nreport version\n"
    )
    version = outcome.output[: len(outcome.output) // 2]
    assert outcome == (0, version * 2, "") and version


def test_an_error_ends_a_line_and_not_the_shell(feed: Feed) -> None:
    outcome = feed(b"frob\nlist help nonsense=1\nreport version 'x\nreport version\n")
    assert outcome.status == 255, "that of the first line that failed"
    assert outcome.output.strip()
    lines = outcome.error.splitlines()
    assert 'error - invalid rocks command "frob"' in lines
    assert "line 1 ended with exit status 255" in lines and "line 2 ended with exit status 1" in lines
    assert "line 3 ended with exit status 1" in lines and "line 4" not in outcome.error
    assert any(line.startswith("Error: cannot split the line: no closing quotation") for line in lines)


def test_with_stop_the_first_failure_is_the_last_line(feed: Feed) -> None:
    outcome = feed(b"frob\nreport version\n", "on-error=stop")
    assert (outcome.status, outcome.output) == (255, "")
    assert feed(b"report version\n", "on-error=never").error.startswith(
        'Error: on-error must be continue or stop, not "never"'
    )


def test_input_that_is_no_text_runs_nothing(feed: Feed) -> None:
    outcome = feed(b"report version\nlist host \xff\n")
    assert (outcome.status, outcome.output) == (1, "")
    assert "line 2 of the input is not UTF-8 text; nothing was run" in outcome.error


def test_a_shell_in_a_shell_is_refused(feed: Feed) -> None:
    assert "this is a shell already" in feed(b"shell\n").error


def test_a_command_that_ends_its_process_or_has_a_fault(feed: Feed, write_command: WriteCommand) -> None:
    write_command("list/ended", "raise SystemExit(7)")
    write_command("list/wrecked", "1 / 0")
    outcome = feed(b"list wrecked\nlist ended\nreport version\n")
    assert outcome.output.strip()
    assert "ZeroDivisionError" in outcome.error and "line 2 ended with exit status 7" in outcome.error


def test_services_are_refused(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """They become another program, and the shell with them."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "leave the shell, and run rocks start service dns" in feed(b"start service dns\n").error


class Terminal:
    """`rocks shell` on a terminal, with a home folder of its own."""

    def __init__(self, folder: Path, trees: Path) -> None:
        launch = Path(__file__).parents[3] / "src" / "rocks" / "cli" / "launch.py"
        self._end, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(launch), "shell"],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env={
                "HOME": str(folder),
                "PATH": os.environ["PATH"],
                "TERM": "dumb",
                "ROCKS_TREES": str(trees),
                "ROCKS_DATABASE_SOCKET": "/nowhere/mysql.sock",
                "LANG": "C.UTF-8",
            },
            preexec_fn=_take_terminal,
        )
        os.close(other)
        self.text = ""

    def read_until(self, text: str) -> str:
        """What was printed since the last call, up to this text."""
        limit = time.monotonic() + SECONDS
        while text not in self.text:
            ready, _, _ = select.select([self._end], [], [], max(0.0, limit - time.monotonic()))
            assert ready, f"{text!r} is not in {self.text!r}"
            self.text += os.read(self._end, 65536).decode()
        found, _, self.text = self.text.partition(text)
        return found

    def type(self, text: str) -> None:
        """Type text; \\x04 is Ctrl-D."""
        os.write(self._end, text.encode())

    def interrupt(self) -> str:
        """Type Ctrl-C, as often as it takes, until there is a prompt; what was printed before it.

        A signal that comes just before readline waits is noticed with the next one only (CPython 3.11).
        """
        limit = time.monotonic() + SECONDS
        while "rocks> " not in self.text:
            assert time.monotonic() < limit, f"no prompt in {self.text!r}"
            self.type("\x03")
            ready, _, _ = select.select([self._end], [], [], patience(1))
            while ready and "rocks> " not in self.text:
                self.text += os.read(self._end, 65536).decode()
                ready, _, _ = select.select([self._end], [], [], patience(1))
        return self.read_until("rocks> ")

    def set_columns(self, columns: int) -> None:
        """Make the terminal so wide."""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def close(self) -> None:
        """End the shell, if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def terminal(tmp_path: Path, tree: Path, write_command: WriteCommand) -> Iterator[Terminal]:
    """A shell at its first prompt, with the command `list slow`, which waits to be interrupted."""
    write_command("list/slow", "print('begun', flush=True)\nimport time\ntime.sleep(600)")
    shell = Terminal(tmp_path, tree)
    try:
        shell.read_until("rocks> ")
        yield shell
    finally:
        shell.close()


@pytest.mark.slow
def test_ctrl_c_ends_a_command_only(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("list slow\n")
    terminal.read_until("begun")
    assert "interrupted" in terminal.interrupt()
    terminal.type("half a line")
    terminal.read_until("half a line")
    terminal.interrupt()
    terminal.type("report version\n")
    terminal.read_until("rocks> ")
    terminal.type("set attr root_pw hidden\n")
    terminal.read_until("rocks> ")
    terminal.type("\x04")
    assert terminal.process.wait(SECONDS) == 0
    history = tmp_path / shell_history.NAME
    assert history.read_text().splitlines() == ["list slow", "report version"], "without the secret"
    assert history.stat().st_mode & 0o777 == 0o600


def test_help_has_the_width_of_the_terminal(terminal: Terminal) -> None:
    terminal.set_columns(60)
    terminal.type("help shell\n")
    terminal.read_until("Description:")
    narrow = terminal.read_until("Examples:")
    assert max(len(line.strip()) for line in narrow.splitlines()) <= 52
    # readline reads the terminal's size and sets it again before it prompts: a change in between is lost
    terminal.read_until("rocks> ")
    terminal.set_columns(120)
    terminal.type("help shell\n")
    terminal.read_until("Description:")
    assert max(len(line.strip()) for line in terminal.read_until("Examples:").splitlines()) > 90


def test_the_history_is_bounded_and_survives_what_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shell_history.read() == []
    (tmp_path / shell_history.NAME).write_bytes(b"\xff\xfe\nlist host\n\x1b[2J\n")
    assert shell_history.read()[-1] == "list host" and "\x1b[2J" not in shell_history.read()
    shell_history.append([f"list host h{number}" for number in range(shell_history.MAX_LINES + 5)])
    assert len(shell_history.read()) == shell_history.MAX_LINES
    assert shell_history.read()[-1] == f"list host h{shell_history.MAX_LINES + 4}"
