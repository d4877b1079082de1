"""What another machine sends becomes an image, or nothing is left of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.core.image_blocks import Content, content_of
from rocks.library.records import image_file, read_images
from rocks.library.streams import store_received


def receive(descriptor: int, watch: Callable[[int], None]) -> Content:
    os.write(descriptor, b"boot")
    watch(4)
    return content_of(descriptor)


def test_what_is_received_is_whole_sectors(tmp_path: Path) -> None:
    lines: list[str] = []
    image = store_received(tmp_path, "one", "", receive, lines.append)
    assert read_images(tmp_path) == [image] and image.size_bytes == 512
    assert image_file(tmp_path, "one").read_bytes() == b"boot".ljust(512, b"\0")
    assert lines


def test_a_record_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise HostError("No space left on device")

    monkeypatch.setattr("rocks.library.records.write_record", full)
    with pytest.raises(HostError, match="No space left"):
        store_received(tmp_path, "one", "", receive, lambda line: None)
    assert list(tmp_path.iterdir()) == []
