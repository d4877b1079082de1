"""Files that an operator brings in, read by the real qemu-img: as what they are said to be, and only whole ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rocks.actions.add_image import ImageFile, as_raw, read_file_words
from rocks.errors import StateError, UserError
from rocks.process import run_checked

_SIZE = 5 * 1024 * 1024


def make(*words: str) -> None:
    """Run qemu-img."""
    run_checked(["qemu-img", *words], deadline_seconds=60)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw image with a hole."""
    path = tmp_path / "image.raw"
    with path.open("wb") as file:
        file.write(os.urandom(100_000))
        file.seek(3_000_000)
        file.write(os.urandom(100_000))
        file.truncate(_SIZE)
    return path


def test_qcow2_file_is_read_as_its_content(raw: Path, tmp_path: Path) -> None:
    """The same bytes and the same size as the raw file that it was made of; nothing is left beside it."""
    file = tmp_path / "image.qcow2"
    make("convert", "-f", "raw", "-O", "qcow2", "-c", str(raw), str(file))
    with as_raw(read_file_words(str(file), "")) as (content, size):
        assert size == _SIZE
        assert content.read_bytes() == raw.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.qcow2", "image.raw"]


def test_file_that_refers_to_another_is_refused(raw: Path, tmp_path: Path) -> None:
    """A backing file, or a file of data: whoever wrote the image would choose which of our files is read."""
    file = tmp_path / "evil.qcow2"
    make("create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(file))
    with pytest.raises(StateError, match="refers to another file"), as_raw(read_file_words(str(file), "")):
        pass
    data = tmp_path / "data.qcow2"
    make("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'x'},data_file_raw=on", str(data), "1M")
    with pytest.raises(StateError, match="refers to another file"), as_raw(read_file_words(str(data), "")):
        pass


def test_format_is_what_is_said_and_never_what_the_content_looks_like(raw: Path, tmp_path: Path) -> None:
    """A raw file whose guest has written a qcow2 header stays raw; a raw file called qcow2 is refused."""
    disguised = tmp_path / "disguised.raw"
    make("create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(disguised))
    with as_raw(read_file_words(str(disguised), "")) as (content, size):
        assert content == disguised
        assert size == disguised.stat().st_size
    with pytest.raises(UserError, match="is no qcow2 file"), as_raw(ImageFile(raw, "qcow2")):
        pass


@pytest.mark.parametrize(
    ("name", "stated", "words"),
    [
        ("nothing.raw", "", "is no file"),
        (".", "raw", "is no file"),
        ("image.vmdk", "", "say format=raw or format=qcow2"),
        ("image.raw", "vmdk", "say format=raw or format=qcow2"),
    ],
)
def test_words_that_are_no_file(tmp_path: Path, name: str, stated: str, words: str) -> None:
    """One sentence, with what is possible."""
    for existing in ("image.vmdk", "image.raw"):
        (tmp_path / existing).write_bytes(b"x")
    with pytest.raises(UserError, match=words):
        read_file_words(str(tmp_path / name), stated)


def test_empty_file(tmp_path: Path) -> None:
    """There is no image of no size."""
    (tmp_path / "empty.img").touch()
    with pytest.raises(UserError, match="is empty"), as_raw(read_file_words(str(tmp_path / "empty.img"), "")):
        pass
