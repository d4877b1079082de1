"""`rocks shell`: many command lines in one process."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.command_trees import WriteCommand
from tests.terminals import SECONDS, Terminal, on_terminal
from tests.unit.cli.conftest import Outcome, Rocks

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


@pytest.fixture
def terminal(tmp_path: Path, tree: Path, write_command: WriteCommand) -> Iterator[Terminal]:
    """A shell at its first prompt, with the command `list slow`, which waits to be interrupted."""
    write_command("list/slow", "print('begun', flush=True)\nimport time\ntime.sleep(600)")
    launch = Path(__file__).parents[3] / "src" / "rocks" / "cli" / "launch.py"
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "dumb", "LANG": "C.UTF-8"}
    environment |= {"ROCKS_TREES": str(tree), "ROCKS_DATABASE_SOCKET": "/nowhere/mysql.sock"}
    with on_terminal([sys.executable, str(launch), "shell"], environment) as shell:
        shell.read_until("rocks> ")
        yield shell


@pytest.mark.slow
def test_ctrl_c_ends_a_command_only(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("list slow\n")
    terminal.read_until("begun")
    assert "interrupted" in terminal.interrupt("rocks> ")
    terminal.type("half a line")
    terminal.read_until("half a line")
    terminal.interrupt("rocks> ")
    terminal.type("report version\n")
    terminal.read_until("rocks> ")
    terminal.type("\x10")  # Ctrl-P, the line before
    terminal.read_until("report version")
    terminal.type("\x15")
    terminal.type("\x04")
    assert terminal.process.wait(SECONDS) == 0
    assert not [path for path in tmp_path.iterdir() if "history" in path.name], "a line may have a secret"


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
