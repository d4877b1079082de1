"""Commands for rolls that are killed at any step, or run twice at once: repeating them ends well (decision 49)."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rocks.cli.main import main
from rocks.core import files, trees
from rocks.core.process import run_checked
from rocks.database.connection import Database
from rocks.install.rolls import folders as roll_folders
from rocks.install.rolls import rolls
from tests.system.commands.conftest import Site

from .conftest import BuildRoll

MAX_STEPS = 60


def dying(function: Callable[..., Any], count: list[int]) -> Callable[..., Any]:
    """The function, which ends its process with SIGKILL before or after the call at which the count runs out."""

    def call(*arguments: Any, **named: Any) -> Any:
        result = None
        for is_after in (False, True):
            count[0] -= 1
            if count[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if not is_after:
                result = function(*arguments, **named)
        return result

    return call


def killed_at(step: int, arguments: Sequence[str]) -> bool:
    """Run a command in a child that dies at a step; whether it got there."""
    child = os.fork()
    if child == 0:
        try:
            count = [step]
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            for owner, name in (
                (Path, "rename"),
                (Path, "unlink"),
                (Path, "mkdir"),
                (shutil, "rmtree"),
                (Database, "commit"),
                (Database, "execute"),
                (roll_folders, "write_file"),
                (rolls, "extract_roll"),
                (files, "sync_folder"),
            ):
                setattr(owner, name, dying(getattr(owner, name), count))
            main(list(arguments))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def state(site: Site, folder: Path) -> tuple[list[Any], list[str], list[str]]:
    """Rolls in the database, files of trees, and files of rolls."""
    rows = site.rows("SELECT Name, Version, Arch, Enabled FROM rolls ORDER BY 1, 2")
    trees_folder = Path(trees.TREES_FOLDER)
    named = sorted(path.name for path in trees_folder.iterdir()) if trees_folder.is_dir() else []
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return rows, named, [path for path in left if "__pycache__" not in path]


@pytest.mark.slow
def test_commands_that_are_killed_at_any_step_are_finished_by_their_repetition(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    iso = str(build_roll())
    others = [str(build_roll("extra"))]
    steps = (
        (["add", "roll", iso], []),
        (["enable", "roll", "hello"], [["add", "roll", iso]]),
        (["disable", "roll", "hello"], [["add", "roll", iso], ["enable", "roll", "hello"]]),
        (["remove", "roll", "hello"], [["add", "roll", iso]]),
    )
    roll_site.rocks("add", "roll", *others)
    for command, before in steps:
        for line in before:
            assert roll_site.rocks(*line).status == 0
        assert roll_site.rocks(*command).status == 0
        expected = state(roll_site, rolls_folder)
        reached = 0
        for step in range(1, MAX_STEPS, 2):
            for line in (["disable", "roll", "hello"], ["remove", "roll", "hello"], *before):
                roll_site.rocks(*line)
            if not killed_at(step, command):
                break
            reached = step
            ended = roll_site.rocks(*command)
            assert ended.status == 0 or (command[0] == "remove" and "unknown roll" in ended.err), (
                step,
                ended,
            )
            # a finished command leaves the rest of a killed one to the next
            roll_site.rocks("add", "roll", *others)
            assert state(roll_site, rolls_folder) == expected, (command, step)
        assert 4 < reached < MAX_STEPS - 2, command
        for verb in ("disable", "remove"):
            roll_site.rocks(verb, "roll", "hello")


def test_the_same_roll_is_added_twice_at_once(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path
) -> None:
    iso = str(build_roll())
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            status = 99
            try:
                status = main(["add", "roll", iso])
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    rows, _, left = state(roll_site, rolls_folder)
    assert rows == [("hello", "1.0", "noarch", "no")]
    assert left and all(str(path).startswith("hello/1.0/noarch/") for path in left)


def test_a_full_disk_adds_nothing(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    iso = build_roll()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    assert "MB are free: remove files there" in roll_site.refused("add", "roll", str(iso))
    assert [path for path in rolls_folder.rglob("*") if path.is_file()] == []


def test_a_disk_that_small_files_fill_is_no_damaged_iso(
    roll_site: Site, build_roll: BuildRoll, rolls_folder: Path, tmp_path: Path
) -> None:
    """Each takes a block of the file system, however few bytes it has."""
    more = tmp_path / "sources/hello-1.0-noarch/include"
    more.mkdir(parents=True)
    for number in range(300):
        (more / f"file-{number}").write_text("x")
    iso = build_roll()
    rolls_folder.mkdir(parents=True)
    run_checked(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(rolls_folder)], deadline_seconds=10)
    try:
        message = roll_site.refused("add", "roll", str(iso))
        assert f"the file system of {rolls_folder}" in message and "remove files there" in message
        assert list(rolls_folder.iterdir()) == []
    finally:
        run_checked(["umount", str(rolls_folder)], deadline_seconds=10)
