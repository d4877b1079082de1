"""The bases of the library's images on all NASes: listed, and removed with their image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.library.guest_images import check_image_name
from rocks.library.imports import find_leftovers
from rocks.library.library_folder import library_folder
from rocks.library.records import find_image, read_images
from rocks.storage.volumes.nodes import storage_nodes
from rocks.storage.volumes.places import removal_command
from rocks.storage.wire.names import NAS
from rocks.storage.wire.requests import ListBases

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.storage.wire.replies import BaseRow

_Bases = list[tuple[str, "BaseRow"]]


def list_bases(database: Database) -> tuple[_Bases, list[str]]:
    """(NAS, base) of all NASes of the site, and a line for each NAS whose bases are not known.

    StateError when this machine has no certificate, BusyError without the broker.
    """
    found, failures = _ask(database)
    return found, [_not_known(nas, error) for nas, error in failures.items()]


def remove_bases(database: Database, digest: str) -> list[str]:
    """Remove the bases of an image that the library has no more; returns a line for each that may stay, and why.

    A base that disks are clones of stays until they are removed.
    """
    try:
        found, failures = _ask(database)
    except RocksError as error:
        return [f"Warning: whether NASes store the image is not known: {error}"]
    lines = [_not_known(nas, error) for nas, error in failures.items()]
    return lines + _remove(database, [(nas, base) for nas, base in found if base.digest == digest])


def remove_left_bases(database: Database, name: str) -> list[str] | None:
    """Remove the bases that an interrupted removal of the image has left, as `remove_bases`; None without any."""
    library = library_folder(database)
    check_image_name(name)
    if find_image(library, name) or any(leftover.name == name for leftover in find_leftovers(library)):
        return None
    known = {image.digest for image in read_images(library)}
    try:
        found, _ = _ask(database)
    except RocksError:
        return None
    left = [(nas, base) for nas, base in found if base.image == name and base.digest not in known]
    return _remove(database, left) if left else None


def _ask(database: Database) -> tuple[_Bases, dict[str, RocksError]]:
    """(NAS, base) of all NASes that answer, and the errors of the others."""
    nases = sorted(node.name for node in storage_nodes(database) if NAS in node.roles)
    if not nases:
        return [], {}
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage

    with open_storage(database) as storage:
        answers = storage.ask_each({nas: asking.question(nas, ListBases()) for nas in nases})
    found: _Bases = []
    failures: dict[str, RocksError] = {}
    for nas in nases:
        answer = answers[nas]
        if isinstance(answer, RocksError):
            failures[nas] = answer
        else:
            found += [(nas, row) for row in answer]
    return found, failures


def _not_known(nas: str, error: RocksError) -> str:
    return f"Warning: which images {nas} stores is not known: {error}"


def _remove(database: Database, bases: _Bases) -> list[str]:
    from rocks.storage.volumes.volumes import remove_image

    lines = []
    for nas, base in bases:
        try:
            remove_image(database, nas, base.zpool, base.zvol, force=False, now=True)
        except RocksError as error:
            lines.append(
                f"{nas}:{base.zpool}/{base.zvol} stays, with the image {base.image}: {error}. Then remove it: "
                f"{removal_command(nas, base.zpool, base.zvol)}"
            )
    return lines
