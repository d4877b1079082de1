"""The manifest of a roll: which files it may name, and files of others that become root's."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import UserError
from rocks.install.rolls import signatures
from rocks.install.rolls.signatures import MANIFEST, check_manifest, is_safe_path, manifest_text, take_over

DIGEST = "0" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A roll of two files."""
    found = tmp_path / "roll"
    (found / "nodes").mkdir(parents=True)
    (found / "nodes" / "a.xml").write_text("a")
    (found / "b").write_text("b")
    (found / MANIFEST).write_text(manifest_text(found))
    return found


def test_paths_that_a_roll_may_have() -> None:
    longest = "x" * 200
    assert all(map(is_safe_path, ("a", "a/b", f"{longest}/{longest}", "g++_1.0~rc1-1@x.deb", "_")))
    wrong = (
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/..",
        ".",
        ".a",
        "-a",
        "a b",
        "a\n",
        "é",
        f"{longest}x",
        f"a/{longest}x",
    )
    assert not any(map(is_safe_path, wrong))


@pytest.mark.parametrize(
    "line",
    [
        f"{DIGEST}  b",  # a second time
        f"{DIGEST}  {MANIFEST}",
        f"{DIGEST}  {MANIFEST}.asc",
        f"{DIGEST}  ../b",
        f"{DIGEST} b",
        f"{DIGEST[1:]}  c",
        "",
    ],
)
def test_lines_that_are_none_of_a_manifest(folder: Path, line: str) -> None:
    with (folder / MANIFEST).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=f"^hello: line 3 of {MANIFEST} is not valid: "):
        check_manifest(folder, "hello")


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("../elsewhere"), os.mkfifo])
def test_a_manifest_that_is_no_file_is_none(folder: Path, make: Callable[[Path], None]) -> None:
    (folder / MANIFEST).replace(folder.with_name("elsewhere"))
    make(folder / MANIFEST)
    with pytest.raises(UserError, match=f"hello: {MANIFEST} is not the manifest of a roll"):
        check_manifest(folder, "hello")


def test_files_of_others_are_replaced_by_copies_and_checked_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their owner may have them open. While a file is copied, nothing more is in the roll."""
    (folder / "b").chmod(0o666)
    (folder / "nodes").chmod(0o777)
    other, draft = (folder / "b").open("r+"), signatures.draft
    seen: list[list[str]] = []

    @contextlib.contextmanager
    def watched(*values: Any, **more: Any) -> Iterator[Any]:
        with draft(*values, **more) as copy:
            seen.append(sorted(one.name for one in folder.iterdir()))
            yield copy

    monkeypatch.setattr(signatures, "draft", watched)
    for _ in range(2):
        take_over(folder, "hello")
    with other:
        other.write("x")
    assert seen == [[MANIFEST, "b", "nodes"]]
    check_manifest(folder, "hello")
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("b", "nodes")] == [0o644, 0o755]

    @contextlib.contextmanager
    def raced(path: Path, **more: Any) -> Iterator[Any]:
        path.write_text("x")  # its owner writes after the check
        with draft(path, **more) as copy:
            yield copy

    (folder / "b").chmod(0o666)
    monkeypatch.setattr(signatures, "draft", raced)
    with pytest.raises(UserError, match=f"hello is damaged: b has another checksum than in {MANIFEST}"):
        take_over(folder, "hello")
