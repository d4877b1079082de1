"""Whether the file of an image is what its record states."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rocks.core.errors import HostError, IncoherentError
from rocks.core.image_blocks import content_of
from rocks.library.records import LibraryImage, image_file


@contextmanager
def verified_image(
    library: Path, image: LibraryImage, watch: Callable[[int], None], remedy: str
) -> Iterator[int]:
    """The open file of the image, after all of it was read; `watch` gets the number of bytes that were read.

    IncoherentError when it is gone, or not what was imported, HostError when it cannot be read; both with the remedy.
    """
    path = image_file(library, image.name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise IncoherentError(f"the file {path} of the image {image.name} is gone; {remedy}") from None
    except OSError as error:
        raise _unreadable(image, error, remedy) from None
    try:
        try:
            found = content_of(descriptor, watch)
        except OSError as error:
            raise _unreadable(image, error, remedy) from None
        if (found.size_bytes, found.digest) != (image.size_bytes, image.digest):
            raise IncoherentError(f"the image {image.name} is not what was imported; {remedy}")
        yield descriptor
    finally:
        os.close(descriptor)


def _unreadable(image: LibraryImage, error: OSError, remedy: str) -> HostError:
    return HostError(f"the image {image.name} cannot be read: {error.strerror}; {remedy}")
