"""A dry run: steps are printed, questions pass, and what no gateway knows is stopped where it is made."""

import os
import socket
import subprocess  # noqa: TID251 - what a plugin might start
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core import dry_run
from rocks.core.files import draft, ensure_folders, remove_file, rename_file, write_file, write_files
from rocks.core.process import run_checked

TRUE = "/bin/true"


def test_a_step_is_printed_once_and_not_done(lines: list[str]) -> None:
    assert dry_run.would("vmh1", "start vm-vc1-0")
    assert dry_run.would("vmh1", "start vm-vc1-0")
    assert dry_run.would("vmh2", "start vm-vc1-0")
    assert lines == ["vmh1: would start vm-vc1-0", "vmh2: would start vm-vc1-0"]


def test_without_a_dry_run_steps_are_done() -> None:
    assert not dry_run.would("vmh1", "start vm-vc1-0")
    dry_run.stop("vmh1", "start vm-vc1-0")
    run_checked([TRUE], deadline_seconds=60)


def test_files_are_not_written_and_those_that_would_change_are_named(
    tmp_path: Path, lines: list[str]
) -> None:
    same, other, folder = tmp_path / "same", tmp_path / "other", tmp_path / "folder"
    with dry_run.reading():
        same.write_text("same")
        other.write_text("old")
    write_file(same, "same")
    write_file(other, "new")
    write_files(tmp_path, {f"n{number}": "" for number in range(9)})
    with draft(tmp_path / "draft") as new:
        new.write("text")
    remove_file(other)
    remove_file(tmp_path / "absent")
    rename_file(other, same)
    ensure_folders(tmp_path, 0o755)
    ensure_folders(folder, 0o755)
    assert lines == [
        f"this machine: would write {other}",
        "this machine: would write "
        + ", ".join(str(tmp_path / f"n{number}") for number in range(4))
        + " and 5 more files",
        f"this machine: would write {tmp_path}/draft",
        f"this machine: would remove {other}",
        f"this machine: would rename {other} to {same}",
        f"this machine: would make the folder {folder}",
    ]
    assert (same.read_text(), other.read_text()) == ("same", "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "same"]


UNKNOWN: dict[str, tuple[Callable[[Path], object], str]] = {
    "program": (lambda path: run_checked([TRUE], deadline_seconds=60), f"run {TRUE}"),
    "subprocess": (lambda path: subprocess.run([TRUE], check=True), f"run {TRUE}"),
    "system": (lambda path: os.system(TRUE), f"run {TRUE}"),  # noqa: S605
    "open": (lambda path: (path / "new").write_text("x"), "write {}/new"),
    "append": (lambda path: (path / "there").open("a"), "write {}/there"),
    "remove": (lambda path: (path / "there").unlink(), "remove {}/there"),
    "mode": (lambda path: (path / "there").chmod(0o700), "change the mode of {}/there"),
    "folder": (lambda path: (path / "new").mkdir(), "make the folder {}/new"),
    "rename": (lambda path: (path / "there").rename(path / "new"), "rename {}/there to {}/new"),
    "signal": (lambda path: os.kill(os.getpid(), 15), f"send signal 15 to process {os.getpid()}"),
}
"""What a plugin might do past the gateways, and its step."""


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_no_gateway_knows_is_printed_and_ends_the_dry_run(tmp_path: Path, name: str) -> None:
    act, step = UNKNOWN[name]
    (tmp_path / "there").write_text("old")
    printed: list[str] = []
    dry_run.begin(printed.append)
    try:
        with pytest.raises(dry_run.UnknownReplyError) as ended:
            act(tmp_path)
        assert ended.value.exit_status == 0
        with pytest.raises(dry_run.UnknownReplyError):
            dry_run.would("vmh1", "go on")
    finally:
        dry_run.end()
    assert printed == [f"this machine: would {step.replace('{}', str(tmp_path))}"]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("there", "old")]


def test_a_connection_is_not_made(lines: list[str]) -> None:
    with socket.socket() as client, pytest.raises(dry_run.UnknownReplyError):
        client.connect(("127.0.0.1", 1))
    assert lines == ["this machine: would connect to ('127.0.0.1', 1)"]


def test_a_question_passes_and_so_does_reading(tmp_path: Path, lines: list[str]) -> None:
    with dry_run.reading():
        (tmp_path / "file").write_text("x")
        run_checked([TRUE], deadline_seconds=60)
    assert (tmp_path / "file").read_text() == "x"
    os.kill(os.getpid(), 0)
    assert lines == []


def test_a_question_of_one_thread_is_none_of_another(tmp_path: Path, lines: list[str]) -> None:
    errors: list[BaseException] = []

    def write() -> None:
        try:
            (tmp_path / "file").write_text("x")
        except dry_run.UnknownReplyError as error:
            errors.append(error)

    with dry_run.reading():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_thread_that_outlives_the_dry_run_still_changes_nothing(tmp_path: Path) -> None:
    """A host that answers late: nobody waits for its thread any more."""
    may_go_on = threading.Event()
    errors: list[BaseException] = []

    def go_on() -> None:
        may_go_on.wait(60)
        for act in (lambda: (tmp_path / "a").write_text("x"), lambda: write_file(tmp_path / "b", "x")):
            try:
                act()
            except dry_run.UnknownReplyError as error:
                errors.append(error)

    dry_run.begin(lambda line: None)
    thread = threading.Thread(target=go_on)
    thread.start()
    dry_run.end()
    write_file(tmp_path / "done", "x")
    may_go_on.set()
    thread.join()
    assert len(errors) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_changes_are_made_again_after_it(tmp_path: Path) -> None:
    dry_run.begin(lambda line: None)
    dry_run.end()
    write_file(tmp_path / "file", "x")
    assert (tmp_path / "file").read_text() == "x"
