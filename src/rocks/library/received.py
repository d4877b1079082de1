"""Stores what another machine sends as an image of the library. It is raw, whatever its first bytes are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rocks.core.errors import HostError, StateError
from rocks.core.files import draft, ensure_folders, explain
from rocks.core.image_blocks import Content, content_of
from rocks.core.units import BYTES_PER_SECTOR, size_text
from rocks.library.conversion import check_space
from rocks.library.progress import Progress
from rocks.library.records import (
    LibraryImage,
    check_new,
    image_file,
    remove_leftovers,
    write_new_record,
)

Receive = Callable[[int, Callable[[int], None]], Content]
"""(descriptor, watch) → what was written into the empty file; `watch` gets the bytes that have come."""

_CHECK_EVERY_BYTES = 64 * 1024**2


def store_received(
    library: Path, name: str, comment: str, receive: Receive, progress: Progress
) -> LibraryImage:
    """Store the image. StateError when there is one of this name, or all is zeros; HostError. Then nothing is left."""
    check_new(library, name)
    target = image_file(library, name)
    try:
        ensure_folders(library, 0o755)
        remove_leftovers(library)
        check_space(library)
        with draft(target) as image:
            content = _whole_sectors(
                image.descriptor, receive(image.descriptor, _watch(library, name, progress))
            )
            if content.used_bytes == 0:
                raise StateError(f"the image {name} is not made: the disk has no data, all of it is zeros")
        made = LibraryImage(name, "raw", *content, "", comment)
        write_new_record(library, made)
    except OSError as error:
        raise HostError(f"the image {name} is not made: {explain(error, target)}") from None
    return made


def _watch(library: Path, name: str, progress: Progress) -> Callable[[int], None]:
    next_check = 0

    def watch(received: int) -> None:
        nonlocal next_check
        if received >= next_check:
            next_check = received + _CHECK_EVERY_BYTES
            check_space(library)
            progress(f"{name}: {size_text(received)}")

    return watch


def _whole_sectors(descriptor: int, content: Content) -> Content:
    size = -(-content.size_bytes // BYTES_PER_SECTOR) * BYTES_PER_SECTOR
    if size == content.size_bytes:
        return content
    os.ftruncate(descriptor, size)
    return content_of(descriptor)
