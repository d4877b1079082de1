"""Files of a folder: nothing outside it, no links; ranges."""

import os
from pathlib import Path

import pytest

from rocks.fleet.https.server import file_answer, open_below, read_range


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, links in and out of it, a FIFO, and a secret beside it."""
    inside = tmp_path / "distro"
    (inside / "a/b+c").mkdir(parents=True)
    (inside / "a/b+c/1%3a2~x.deb").write_text("0123456789")
    (inside / ".hidden").write_text("hidden")
    (tmp_path / "secret").write_text("secret")
    (inside / "out").symlink_to(tmp_path / "secret")
    (inside / "folder-out").symlink_to(tmp_path)
    (inside / "in").symlink_to("a")
    os.mkfifo(inside / "fifo")
    return inside


def test_a_file_is_found_by_its_quoted_path(folder: Path) -> None:
    found = open_below(folder, "a/b%2bc/1%253a2~x.deb")
    assert found is not None
    answer = file_answer(found, [("range", "bytes=2-4")])
    assert (answer.status, answer.headers["Content-Range"]) == (206, "bytes 2-4/10")
    assert answer.file is not None and os.pread(found, answer.file.length, answer.file.offset) == b"234"
    os.close(found)


@pytest.mark.parametrize(
    "path",
    ["", "/", "a", "a/", "//a", "../secret", "a/../../secret", "a/%2e%2e/%2e%2e/secret", "..%2fsecret", "out"]
    + [
        "folder-out/secret",
        "in/b+c/1%3a2~x.deb",
        ".hidden",
        "fifo",
        "a/b+c/none",
        "a%00",
        "out/x",
        "%ff",
        "/etc/passwd",
    ],
)
def test_nothing_else_is_found(folder: Path, path: str) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    assert open_below(folder, path) is None
    assert open_below(folder / "none", path) is None
    # what earlier tests have left may be closed meanwhile
    assert set(Path("/proc/self/fd").iterdir()) <= before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-", (0, 9)),
        ("bytes=3-5", (3, 5)),
        ("bytes=3-99", (3, 9)),
        ("bytes=-4", (6, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=١-٢", None),
    ],
)
def test_a_range(text: str, expected: tuple[int, int] | None) -> None:
    assert read_range([("Range", text)], 10) == expected
    assert read_range([("Range", text), ("If-Range", '"x"')], 10) is None


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_beyond_the_end_is_416(folder: Path, text: str) -> None:
    found = open_below(folder, "a/b+c/1%253a2~x.deb")
    assert found is not None
    answer = file_answer(found, [("Range", text)])
    assert (answer.status, answer.headers, answer.file) == (416, {"Content-Range": "bytes */10"}, None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(found)
