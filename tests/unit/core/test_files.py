"""The writer of files: old or new content at every moment, the mode from the first moment, no drafts left."""

import ast
import fcntl
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rocks.core import files
from rocks.core.errors import HostError
from rocks.core.files import (
    PUBLIC,
    draft,
    ensure_folders,
    remove_drafts,
    rename_file,
    write_file,
    write_files,
)
from tests.waiting import at_once

SOURCES = Path(files.__file__).parents[1]
OLD, NEW = b"old content\n" * 100, b"new content\n" * 200
CALLS = ("open", "fchown", "fchmod", "write", "fsync", "replace", "link", "unlink", "close")
"""Every system call by which a writer changes the disk. A write is cut into halves."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that exists, in a folder of its own."""
    path = tmp_path / "folder" / "secret.pem"
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o600)
    return path


def killed_at(number: int, is_after: bool, write: Callable[[], object]) -> bool:
    """Run `write` in a child that SIGKILL ends before or after its system call of that number; whether it was."""
    child = os.fork()
    if child == 0:
        _count_calls(number, is_after)
        write()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _count_calls(number: int, is_after: bool) -> None:
    counted = iter(range(number + 1))

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted_call(*arguments: Any, **named: Any) -> Any:
            is_last = next(counted, None) == number
            if is_last and not is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **named)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted_call

    write = os.write
    os.write = lambda descriptor, data: write(descriptor, data[: max(1, len(data) // 2)])  # type: ignore[assignment]
    for name in CALLS:
        setattr(os, name, counting(getattr(os, name)))


def every_kill(write: Callable[[], object]) -> Iterator[tuple[int, bool]]:
    """Kill the writer at each of its system calls, and yield after each."""
    for is_after in (False, True):
        for number in range(200):
            if not killed_at(number, is_after, write):
                assert number > 10
                break
            yield number, is_after


def drafts(path: Path) -> list[Path]:
    """What lies beside the file."""
    return [entry for entry in path.parent.iterdir() if entry != path]


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_content_or_the_new(path: Path) -> None:
    """Never a mixture; nobody else can read it at any moment; the next writer removes the draft."""
    seen = set()
    for _ in every_kill(lambda: write_file(path, NEW, group=os.getgid())):
        content = path.read_bytes()
        assert content in (OLD, NEW)
        seen.add(content)
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        assert len(drafts(path)) <= 1
        write_file(path, OLD)
        assert (path.read_bytes(), drafts(path)) == (OLD, [])
    assert seen == {OLD, NEW}


@pytest.mark.slow
def test_a_killed_writer_of_a_public_file_leaves_one_that_all_can_read(path: Path) -> None:
    """The renamed file has its mode already; umask does not matter."""
    path.chmod(PUBLIC)
    umask = os.umask(0o077)
    try:
        for _ in every_kill(lambda: write_file(path, NEW, mode=PUBLIC)):
            assert stat.S_IMODE(path.stat().st_mode) == PUBLIC
            assert path.read_bytes() in (OLD, NEW)
            write_file(path, OLD, mode=PUBLIC)
    finally:
        os.umask(umask)


def _make(path: Path) -> None:
    with draft(path, replace=False) as new:
        new.write(NEW)


@pytest.mark.slow
def test_a_killed_maker_leaves_no_file_or_a_whole_one(path: Path) -> None:
    """Without `replace`."""
    path.unlink()
    for _ in every_kill(lambda: _make(path)):
        assert not path.exists() or path.read_bytes() == NEW
        path.unlink(missing_ok=True)
        remove_drafts(path)
        assert drafts(path) == []


def test_a_draft_is_a_secret_before_it_has_content(path: Path) -> None:
    """Mode and group are those of the file; an exception in the block discards the draft."""
    with pytest.raises(ZeroDivisionError), draft(path, mode=0o640, group=os.getgid()) as new:  # noqa: PT012
        status = new.path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_size, status.st_gid) == (0o640, 0, os.getgid())
        new.write("half")
        raise ZeroDivisionError
    assert (path.read_bytes(), drafts(path)) == (OLD, [])


@pytest.mark.parametrize("call", ["fchmod", "write", "fsync", "replace"])
def test_a_failing_system_call_keeps_the_old_content(
    path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the file and the reason."""

    def fail(*_arguments: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(HostError, match=f"cannot write {path}: No space left on device"):
        write_file(path, NEW)
    monkeypatch.undo()
    assert (path.read_bytes(), drafts(path)) == (OLD, [])


def test_without_replace_an_existing_file_stays(path: Path) -> None:
    with pytest.raises(FileExistsError):
        _make(path)
    assert (path.read_bytes(), drafts(path)) == (OLD, [])


def test_the_draft_of_a_living_writer_stays(path: Path) -> None:
    """It is locked; drafts of other files are none of this writer's."""
    alive, other = path.with_name(".secret.pem.unfinished-1-aa"), path.with_name(".other.unfinished-1-aa")
    other.touch()
    with alive.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_file(path, NEW)
        assert set(drafts(path)) == {alive, other}
    write_file(path, NEW)
    assert drafts(path) == [other]


def test_a_link_in_the_place_of_a_draft_is_not_followed(path: Path) -> None:
    """It may be another user's, and lead to a device that does something when it is opened."""
    link = path.with_name(".secret.pem.unfinished-1-aa")
    link.symlink_to(path.with_name("target"))
    link.readlink().touch()
    write_file(path, NEW)
    assert link.is_symlink()


def test_threads_that_write_one_file_at_once(path: Path) -> None:
    """Each writes all of it."""
    contents = [bytes([65 + number]) * 5000 for number in range(8)]
    at_once(lambda content: write_file(path, content), contents)
    assert path.read_bytes() in contents
    assert drafts(path) == []


def test_a_draft_may_lie_beside_another_path(path: Path) -> None:
    """Where the folder of the file may hold nothing else."""
    with draft(path, beside=path.parent.parent / "record") as new:
        new.write(NEW)
        assert (new.path.parent, drafts(path)) == (path.parent.parent, [])
    assert path.read_bytes() == NEW
    assert list(path.parent.parent.iterdir()) == [path.parent]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file or directory"):
        write_file(tmp_path / "absent" / "file", NEW)


def test_a_renamed_file_and_a_made_folder(path: Path) -> None:
    """The folder has its mode whatever the umask."""
    target = path.parent / "old" / "secret.pem"
    umask = os.umask(0o077)
    try:
        ensure_folders(target.parent, 0o711)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o711
    rename_file(path, target)
    assert (target.read_bytes(), path.exists()) == (OLD, False)


def test_no_other_module_replaces_files() -> None:
    """By its own rename, link or temporary file.

    The device-mapper driver replaces links to device nodes; what is in the place of a lease, or of
    the link to a console's log, is renamed, not replaced.
    A disk that has moved gets its name by a link, which replaces nothing.
    Rolls and distributions are folders, which are renamed whole; a socket of a live move is no file with a content.
    """
    others = {path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.py") if _replaces(path)}
    folders = {"install/rolls/folders.py", "install/rolls/distribution.py", "install/rolls/builds.py"}
    assert others - folders - {
        "storage/device_mapper/ioctl.py",
        "leases/host/leases.py",
        "machine/host/live_move.py",
        "machine/host/consoles.py",
        "machine/host/move.py",
    } == {"core/files.py"}


_CANDIDATES = re.compile(r"mkstemp|hardlink_to|link_to|os\.link|\.rename\(|\.replace\(")


def _replaces(path: Path) -> bool:
    if _CANDIDATES.search(path.read_text("utf-8")) is None:
        return False
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    functions = [(node, node.func) for node in calls if isinstance(node.func, ast.Attribute)]
    return any(
        function.attr in ("mkstemp", "hardlink_to", "link_to")
        or (function.attr in ("link", "rename", "replace") and ast.unparse(function.value) == "os")
        or (function.attr in ("rename", "replace") and len(node.args) == 1 and not node.keywords)
        and ast.unparse(function) != "host.stored_links.replace"
        for node, function in functions
    )


def test_many_files_are_replaced_or_made_with_one_mode(path: Path) -> None:
    contents = {f"host-{number}.ipxe": f"number {number}" for number in range(250)}
    path.with_name("host-3.ipxe").write_text("old")
    path.with_name(".host-7.ipxe.unfinished-1-0").write_text("of a killed writer")
    write_files(path.parent, contents, mode=PUBLIC)
    found = {one.name: one for one in path.parent.iterdir()}
    assert found.keys() == {*contents, path.name}
    assert {name: found[name].read_text() for name in contents} == contents
    assert {stat.S_IMODE(found[name].stat().st_mode) for name in contents} == {PUBLIC}
    write_files(path.parent, {})


@pytest.mark.parametrize("number", range(0, 30, 4))
def test_each_of_many_files_is_old_or_new_when_their_writer_is_killed(path: Path, number: int) -> None:
    contents = {path.name: NEW, "other": NEW}
    killed_at(number, False, lambda: write_files(path.parent, contents))
    assert path.read_bytes() in (OLD, NEW)
    assert not path.with_name("other").exists() or path.with_name("other").read_bytes() == NEW
    write_files(path.parent, contents)
    assert sorted(one.name for one in path.parent.iterdir()) == ["other", path.name]


def test_a_folder_that_is_none_is_named_when_many_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot write files in .*/file: .*mv"):
        write_files(tmp_path / "file", {"a": "b"})
