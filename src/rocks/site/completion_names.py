"""Names of objects for a person who completes a command line. Light: it is imported at each press of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.site import completion_records as table

if TYPE_CHECKING:
    from rocks.database.connection import Database

IMAGE, GRAPH, NODE = "image", "graph", "node"
KINDS = table.KINDS | {IMAGE, GRAPH, NODE}
"""What a declaration may name by `of`, besides files and folders."""


def names_that_begin(database: Database, kind: str, beginning: str) -> list[str]:
    """Names of objects of a kind, sorted: images of the library, files of the graph; of attributes
    also those that the system reads; all others of the database."""
    if kind in (GRAPH, NODE):
        return [name for name in _graph_names(kind) if name.startswith(beginning)]
    if kind == "attr":
        return _attribute_names(database, beginning)
    if kind != IMAGE:
        return table.names_that_begin(database, kind, beginning)
    from rocks.library.library_folder import library_folder
    from rocks.library.records import image_names

    return [name for name in image_names(library_folder(database)) if name.startswith(beginning)]


def _attribute_names(database: Database, beginning: str) -> list[str]:
    """The attributes that the system reads, and the others that are in use."""
    from rocks.inventory.attributes.known import KNOWN
    from rocks.inventory.attributes.rules import known_spelling

    stored = table.names_that_begin(database, "attr", beginning)
    known = [name for name in KNOWN if name.startswith(beginning)]
    return sorted({*known, *(name for name in stored if known_spelling(name) not in known)})


def _graph_names(kind: str) -> list[str]:
    """The graphs, or the node files without their ending, of these programs and of installed rolls."""
    from rocks.install.graph_files import own_folders

    if kind == GRAPH:
        paths = (path for folder in own_folders() for path in (folder / "graphs").iterdir() if path.is_dir())
        return sorted({path.name for path in paths})
    return sorted({path.stem for folder in own_folders() for path in (folder / "nodes").glob("*.xml")})
