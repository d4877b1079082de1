"""`nucleus COMMAND`: how it ends."""

import errno
import importlib
import os
import subprocess  # noqa: TID251 - a program of its own, which is interrupted
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nucleus.cli import main as program
from rocks.core.errors import HostError, UserError

PROGRAM = Path(__file__).parents[4] / "src/nucleus/cli/__main__.py"


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: int = 0) -> int:
    """The exit status when the command ends so."""

    def run(*_: object) -> int:
        if error is not None:
            raise error
        return status

    command = SimpleNamespace(add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "nucleus.cli.health", command)
    return program.main(["--file", os.devnull, "status"])


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    assert ended(monkeypatch, None, status) == status


def test_an_error_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, UserError("there is no user 'a\x1b'")) == 1
    assert capsys.readouterr() == ("", "nucleus: there is no user 'a\\x1b'\n")


def test_an_interrupt_has_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, KeyboardInterrupt()) == 130


def test_an_interrupt_that_also_closed_a_connection_is_no_lost_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The driver is interrupted while it reads an answer, and what undoes the transaction finds it closed."""
    lost = HostError("lost the database nucleus")
    lost.__context__ = KeyboardInterrupt()
    assert ended(monkeypatch, lost) == 130
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_while_modules_are_imported_has_no_traceback(tmp_path: Path) -> None:
    """The program with a `nucleus.cli.main` that is interrupted when it is imported."""
    folder = tmp_path / "nucleus" / "cli"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (folder / "__main__.py").write_text(PROGRAM.read_text("utf-8"), "utf-8")
    (folder / "main.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "nucleus.cli", "status"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_has_enough_is_no_success_and_no_error_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python flushes standard output at its end: it goes nowhere then, else there were a second error."""
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert ended(monkeypatch, BrokenPipeError(errno.EPIPE, "x")) == 1
        assert Path(f"/proc/self/fd/{out.fileno()}").readlink() == Path(os.devnull)
    assert capsys.readouterr().err == ""


def test_a_word_that_is_no_text_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """As a terminal of another encoding sends it: it was an error of this program."""
    with pytest.raises(SystemExit) as raised:
        program.main(["user", "disable", "\udce9"])
    assert raised.value.code == 2 and "'\\udce9' is not UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["none"], ["status", "more"], ["--none", "status"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        program.main(arguments)
    assert raised.value.code == 2 and "usage: nucleus" in capsys.readouterr().err


def test_a_word_too_much_is_refused_with_the_usage_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        program.main(["host", "remove", "nohost", "vm-container-0-[0-3]"])
    assert raised.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "usage: nucleus host remove [-h] HOSTS",
        "nucleus host remove: error: unrecognized arguments: vm-container-0-[0-3]",
    ]


def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """And a module with what it needs, which is loaded only for it."""
    for command, (line, name) in program.commands().items():
        module: Any = importlib.import_module(name)
        assert callable(module.run) and callable(module.add_arguments)
        with pytest.raises(SystemExit) as raised:
            program.main([command, "--help"])
        assert raised.value.code == 0
        assert f"{line[0].upper()}{line[1:]}."[:40] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["token", "create", "bob", "--scope", "foo"], "--scope cannot be foo; it is one of read, power, "),
        (
            ["token", "create", "bob", "--scope", "foo"],
            ", rename, cluster:reinstall, cluster:destroy, admin\n",
        ),
        (["usage", "--format=xml"], "--format cannot be xml; it is one of table, json, csv\n"),
    ],
)
def test_a_wrong_value_of_an_option_is_answered_with_the_right_ones(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.main(arguments)
    assert line in capsys.readouterr().err


def test_a_misspelled_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, meant in ((["stauts"], "nucleus status"), (["site", "remvoe"], "nucleus site remove")):
        with pytest.raises(SystemExit):
            program.main(arguments)
        assert f"did you mean {meant}?" in capsys.readouterr().err
