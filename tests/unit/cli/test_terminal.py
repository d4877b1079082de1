"""What a terminal gets, and what a file gets: `rocks` as a program of its own on a pseudo terminal."""

import os
import subprocess  # noqa: TID251 - with a terminal of its own
import sys
from pathlib import Path

import pytest

from rocks.commands._framework.base import Command
from rocks.database.connection import Database
from rocks.database.settings import Settings
from tests import terminals
from tests.command_trees import WriteCommand
from tests.unit.cli.conftest import tree, write_command

__all__ = ["tree", "write_command"]

LAUNCH = Path(__file__).parents[3] / "src" / "rocks" / "cli" / "launch.py"
TEXT = "a comment of many words, longer than the terminal is wide, which is wrapped at its blanks"
BODY = f"""
self.beginOutput()
self.addOutput("compute-0-0", ("up", "76:77:6e:80:00:00", {TEXT!r}))
self.addOutput("compute-0-1", ("crashed", "76:77:6e:80:00:01", "red \\033[31m"))
self.endOutput(header=("host", "state", "mac", "comment"), trimOwner=False)
self.addLine("a line \\033[31m")
"""


def environment(folder: Path, trees: Path, **more: str) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "ROCKS_TREES": str(trees),
        "ROCKS_DATABASE_SOCKET": "/nowhere/mysql.sock",
        "LANG": "C.UTF-8",
    } | more


def on_terminal(folder: Path, trees: Path, *arguments: str, columns: int = 60, **more: str) -> str:
    """What the program prints on a terminal of that width."""
    command = [sys.executable, str(LAUNCH), *arguments]
    with terminals.on_terminal(command, environment(folder, trees, **more), columns) as terminal:
        return terminal.rest()[1]


def in_file(folder: Path, trees: Path, *arguments: str, **more: str) -> tuple[bytes, bytes]:
    """What the program prints into pipes."""
    done = subprocess.run(
        [sys.executable, str(LAUNCH), *arguments],
        capture_output=True,
        env=environment(folder, trees, **more),
        timeout=600,
    )
    return done.stdout, done.stderr


def test_a_terminal_gets_its_width_and_colours(
    tmp_path: Path, tree: Path, write_command: WriteCommand
) -> None:
    write_command("list/thing", BODY)
    text = on_terminal(tmp_path, tree, "list", "thing", columns=60)
    table = text.splitlines()
    assert table[0].startswith("\033[1mHOST\033[0m")
    plain = text.replace("\033[1m", "").replace("\033[31m", "").replace("\033[0m", "").splitlines()
    assert max(map(len, plain)) <= 60 and len(plain) > 5
    assert plain[1].startswith("compute-0-0: up      76:77:6e:80:00:00 a comment")
    assert any(line.startswith("compute-0-1: \033[31mcrashed\033[0m 76:77:6e:80:00:01") for line in table)
    assert "red \\x1b[31m" in text and table[-1] == "a line \\x1b[31m", "what a cell contains sets no colour"


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"NO_COLOR": "no"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours(
    tmp_path: Path, tree: Path, write_command: WriteCommand, more: dict[str, str]
) -> None:
    write_command("list/thing", BODY)
    text = on_terminal(tmp_path, tree, "list", "thing", **more)
    assert "\033" not in text and "compute-0-1: crashed 76:77:6e:80:00:01" in text
    assert "\033" not in on_terminal(tmp_path, tree, "list", "help", "cols=x", **more)


def test_an_empty_no_color_counts_as_unset(tmp_path: Path, tree: Path, write_command: WriteCommand) -> None:
    """As no-color.org has it."""
    write_command("list/thing", BODY)
    assert "\033[1mHOST" in on_terminal(tmp_path, tree, "list", "thing", NO_COLOR="")


def test_errors_begin_in_red(tmp_path: Path, tree: Path) -> None:
    text = on_terminal(tmp_path, tree, "list", "help", "cols=x")
    assert text.startswith("\033[31mError:\033[0m cols ")
    _, error = in_file(tmp_path, tree, "list", "help", "cols=x")
    assert error.startswith(b"Error: cols ")


def test_a_file_gets_the_table_as_ever(tmp_path: Path, tree: Path, write_command: WriteCommand) -> None:
    """Byte for byte, whatever the terminal's environment says."""
    write_command("list/thing", BODY)
    command = Command(Database(Settings("/nowhere", "", 0, "", "", "")))
    command.beginOutput()
    command.addOutput("compute-0-0", ("up", "76:77:6e:80:00:00", TEXT))
    command.addOutput("compute-0-1", ("crashed", "76:77:6e:80:00:01", "red \033[31m"))
    command.endOutput(header=("host", "state", "mac", "comment"), trimOwner=False)
    expected = (command.getText() + "a line \\x1b[31m\n").encode()
    environments: list[dict[str, str]] = [{}, {"COLUMNS": "40"}, {"CLICOLOR_FORCE": "1"}]
    for more in environments:
        assert in_file(tmp_path, tree, "list", "thing", **more) == (expected, b"")


def test_json_is_whole_on_a_terminal(tmp_path: Path, tree: Path, write_command: WriteCommand) -> None:
    write_command("list/thing", BODY.replace('self.addLine("a line \\033[31m")\n', ""))
    text = on_terminal(tmp_path, tree, "list", "thing", "json=yes", columns=40)
    assert TEXT in text and "\033" not in text


def test_a_command_in_a_file_loads_nothing_of_the_terminal(
    tmp_path: Path, tree: Path, write_command: WriteCommand
) -> None:
    write_command(
        "list/loaded",
        BODY.strip() + '\nimport sys\nself.addLine(str("terminal_tables" in str(list(sys.modules))))\n',
    )
    output, _ = in_file(tmp_path, tree, "list", "loaded")
    assert output.endswith(b"False\n")


def test_an_interrupt_while_modules_are_imported_has_no_traceback(tmp_path: Path) -> None:
    """The program with a `rocks.cli.main` that is interrupted when it is imported."""
    folder = tmp_path / "rocks" / "cli"
    folder.mkdir(parents=True)
    (folder / "launch.py").write_text(LAUNCH.read_text())
    (folder / "main.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ended = subprocess.run(
        [sys.executable, "-E", "-S", str(folder / "launch.py"), "list", "host"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
