"""Where the image library is, and one image of it. Light: commands that make machines import it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.names import printable
from rocks.inventory.attributes.known import KNOWN, value_in
from rocks.inventory.attributes.records import global_attributes
from rocks.library.guest_images import LIBRARY_ATTRIBUTE, Source, volume_of
from rocks.library.records import existing_image, source_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.database.connection import Database
    from rocks.library.records import LibraryImage

_LOCK_SECONDS = 2.0


def library_folder(database: Database) -> Path:
    """The folder of the library, of the attribute `image_library`. StateError when it is not absolute."""
    text = value_in(global_attributes(database), LIBRARY_ATTRIBUTE)
    if not text.startswith("/"):
        raise StateError(
            f"the attribute {LIBRARY_ATTRIBUTE} must be an absolute path, not {printable(text)!r}; "
            f"rocks set attr {LIBRARY_ATTRIBUTE} {KNOWN[LIBRARY_ATTRIBUTE].default}"
        )
    return Path(text)


def find_library_image(database: Database, name: str) -> LibraryImage:
    """The image of this name. StateError when there is none."""
    return existing_image(library_folder(database), name)


def find_source(database: Database, name: str) -> Source:
    """What disks are made from by this name. StateError for an image that the library lacks, and for an ISO."""
    if volume_of(name):
        return Source(name, 0, 0, "")
    return source_of(find_library_image(database, name))


def lock_images(database: Database, names: Iterable[str], wait_seconds: float = _LOCK_SECONDS) -> None:
    """Lock images against commands that add, change or remove them. BusyError when one is at work on an image.

    A command takes these locks before that of `rocks.inventory.host_records`.
    """
    database.lock_all([f"library image {name}" for name in names if not volume_of(name)], wait_seconds)
