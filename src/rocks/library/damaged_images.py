"""Whether the file of an image is what its record states."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rocks.core.errors import HostError, IncoherentError
from rocks.core.files import PUBLIC, remove_file, write_file
from rocks.core.image_blocks import content_of
from rocks.library.records import LibraryImage, damage_note, image_file


@contextmanager
def verified_image(
    library: Path, image: LibraryImage, watch: Callable[[int], None], remedy: str
) -> Iterator[int]:
    """The open file of the image, after all of it was read; `watch` gets the number of bytes that were read.

    IncoherentError when it is gone, or not what was imported, which is noted until it is; HostError when it cannot be
    read. Both have the remedy.
    """
    path = image_file(library, image.name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise IncoherentError(f"the file {path} of the image {image.name} is gone; {remedy}") from None
    except OSError as error:
        raise _unreadable(image, error, remedy) from None
    try:
        identity = _identity(os.fstat(descriptor))
        try:
            found = content_of(descriptor, watch)
        except OSError as error:
            raise _unreadable(image, error, remedy) from None
        if (found.size_bytes, found.digest) != (image.size_bytes, image.digest):
            with suppress(HostError):  # what it is for may be read-only
                write_file(damage_note(library, image.name), identity, mode=PUBLIC)
            raise IncoherentError(f"the image {image.name} is not what was imported; {remedy}")
        with suppress(OSError):  # as above; it was read wrongly before, or a file system has repaired it
            remove_file(damage_note(library, image.name))
        yield descriptor
    finally:
        os.close(descriptor)


def is_known_damaged(library: Path, name: str) -> bool:
    """Whether the file of the image is gone, or is still what `verified_image` has found damaged; it is not read."""
    try:
        present = _identity(image_file(library, name).lstat())
        return damage_note(library, name).read_text("ascii") == present
    except FileNotFoundError:
        return not os.path.lexists(image_file(library, name))
    except (OSError, ValueError):
        return False


def _identity(found: os.stat_result) -> str:
    """Changes with each write."""
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _unreadable(image: LibraryImage, error: OSError, remedy: str) -> HostError:
    return HostError(f"the image {image.name} cannot be read: {error.strerror}; {remedy}")
