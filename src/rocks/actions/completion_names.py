"""Names of objects for a person who completes a command line. Light: it is imported at each press of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.database import completion as table

if TYPE_CHECKING:
    from rocks.database.connection import Database

IMAGE = "image"
KINDS = table.KINDS | {IMAGE}
"""What a declaration may name by `of`, besides files and folders."""


def names_that_begin(database: Database, kind: str, beginning: str) -> list[str]:
    """Names of objects of a kind, sorted: of images from the library, of all others from the database."""
    if kind != IMAGE:
        return table.names_that_begin(database, kind, beginning)
    from rocks.actions.library_folder import library_folder
    from rocks.image_library.records import image_names

    return [name for name in image_names(library_folder(database)) if name.startswith(beginning)]
