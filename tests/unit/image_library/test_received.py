"""What a host sends becomes an image of the library whole, or nothing is left of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.errors import HostError
from rocks.image_blocks import Content, content_of
from rocks.image_library import received
from rocks.image_library.received import store_received
from rocks.image_library.records import LibraryImage, find_image


def sent(descriptor: int, watch: Callable[[int], None]) -> Content:
    os.write(descriptor, b"a disk".ljust(4096))
    watch(4096)
    return content_of(descriptor)


def test_an_image_is_stored(tmp_path: Path) -> None:
    made = store_received(tmp_path, "golden", "", sent, lambda line: None)
    assert find_image(tmp_path, "golden") == made


def test_nothing_is_left_when_the_record_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(library: Path, image: LibraryImage) -> None:
        raise HostError(f"cannot write {library}: No space left on device")

    monkeypatch.setattr(received, "write_record", fail)
    with pytest.raises(HostError, match="No space left"):
        store_received(tmp_path, "golden", "", sent, lambda line: None)
    assert list(tmp_path.iterdir()) == []
