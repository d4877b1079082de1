"""`make new-command`: a command that runs, and a test that runs it.

Its example, `list host colour`, is another command than those of the tests: a checkout may have it.
"""

import os
import sys
from pathlib import Path

import pytest

from lab.pages.new_command import create_command, main
from rocks.core import process
from rocks.core.errors import UserError
from tests.unit.cli.conftest import Rocks

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the parts of this checkout that a new command needs; times are preserved, for compiled modules."""
    for name in (
        "src/rocks",
        "lab/__init__.py",
        "lab/pages",
        "tests/unit/cli",
        "tests/command_trees.py",
        "pyproject.toml",
        "version.mk",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        process.run_checked(["cp", "-a", str(CHECKOUT / name), str(tmp_path / name)], deadline_seconds=60)
    return tmp_path


def run(checkout: Path, *arguments: str) -> process.Finished:
    """Run Python in the copy."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": "src:.", "PYTHONDONTWRITEBYTECODE": "1"}
    return process.run(
        ["env", f"--chdir={checkout}", *command], environment=environment, deadline_seconds=300
    )


@pytest.mark.slow
def test_the_new_command_has_a_test_that_passes(checkout: Path) -> None:
    """And its files need no change of style."""
    made = run(checkout, "-m", "lab.pages.new_command", "list", "host", "shade")
    command, test, changed = made.text.splitlines()
    assert changed.startswith("docs/reference/commands.md has the command now")
    assert (made.exit_status, command) == (0, "src/rocks/commands/list/host/shade/__init__.py")
    page = (checkout / "docs/reference/commands.md").read_text()
    assert "rocks list host shade [host] ... [text=string]" in page

    tested = run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", test)
    assert "1 passed" in tested.text
    for arguments in (("format", "--check"), ("check",)):
        linted = run(checkout, "-m", "ruff", *arguments, command, test)
        assert linted.exit_status == 0, linted.text


@pytest.mark.usefixtures("tree")  # what is imported is forgotten afterwards
@pytest.mark.parametrize("command_path", [("list", "colour"), ("frob",), ("frob", "host", "deep_blue")])
def test_the_new_command_runs(
    rocks: Rocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_path: tuple[str, ...]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    command, _ = create_command(command_path, tmp_path)
    monkeypatch.setenv("ROCKS_TREES", str(tmp_path / "src" / "rocks" / "commands"))
    assert rocks(*command_path, "h1", "h2", "text=blue") == (0, "HOST TEXT\nh1:  blue\nh2:  blue\n", "")
    assert rocks(*command_path, "help").output.startswith(
        f"rocks {' '.join(command_path)} [host] ... [text=string]\n"
    )
    assert ("MustBeRoot = 0" in command.read_text()) is (command_path[0] == "list")


@pytest.mark.parametrize(
    ("command_path", "message"),
    [
        ((), "name the command, as in"),
        (("list", "host"), '"list host" exists: src/rocks/commands/list/host/__init__.py'),
        (("list", "c" * 31), f'"{"c" * 31}" cannot be a word of a command: use at most 30'),
        (("list", "host-colour"), '"host-colour" cannot be a word of a command'),
        (("_framework",), '"_framework" cannot be a word'),
        (("List",), '"List" cannot be a word'),
        (("list", "import"), '"import" cannot be a word'),
        (("list", "../x"), '"../x" cannot be a word'),
        (("list", ""), '"" cannot be a word'),
        (("list", "höst"), '"höst" cannot be a word'),
    ],
)
def test_a_name_that_cannot_be_used_is_one_line_and_nothing_is_written(
    command_path: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command_path == ("list", "host"):
        (tmp_path / "src/rocks/commands/list/host").mkdir(parents=True)
        (tmp_path / "src/rocks/commands/list/host/__init__.py").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        create_command(command_path, tmp_path)
    assert str(caught.value).startswith(message)
    assert sorted(tmp_path.rglob("*")) == before
    assert main(command_path) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_group_does_not_become_a_command(tmp_path: Path) -> None:
    create_command(("list", "colour"), tmp_path)
    with pytest.raises(UserError, match='"list" is a group of commands: src/rocks/commands/list'):
        create_command(("list",), tmp_path)
    assert not (tmp_path / "src/rocks/commands/list/__init__.py").exists()
