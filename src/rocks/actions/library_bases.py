"""The bases of the library's images on all NASes: listed, and removed with their image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.storage_nodes import storage_nodes
from rocks.errors import RocksError, StateError
from rocks.wire.queues import NAS

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.imgstorage.client.answers import BaseRow


def list_bases(database: Database) -> tuple[list[tuple[str, BaseRow]], list[str]]:
    """(NAS, base) of all NASes of the site, and a line for each NAS whose bases are not known.

    StateError when this machine has no certificate, BusyError without the broker.
    """
    nases = sorted(node.name for node in storage_nodes(database) if NAS in node.roles)
    if not nases:
        return [], []
    from rocks.actions.image_bases import is_unsupported, older_nas
    from rocks.actions.storage_access import open_storage
    from rocks.imgstorage.client import questions

    with open_storage(database) as storage:
        answers = storage.ask_each({nas: questions.bases_of(nas) for nas in nases})
    found: list[tuple[str, BaseRow]] = []
    notes: list[str] = []
    for nas in nases:
        answer = answers[nas]
        if isinstance(answer, RocksError):
            error = older_nas(nas, "has no bases of images") if is_unsupported(answer) else answer
            notes.append(f"Warning: which images {nas} stores is not known: {error}")
        else:
            found += [(nas, row) for row in answer]
    return found, notes


def remove_bases(database: Database, digest: str) -> list[str]:
    """Remove the bases of an image that the library has no more; returns a line for each that stays, and why.

    A base that disks are clones of stays until they are removed.
    """
    try:
        bases, notes = list_bases(database)
    except StateError:
        return []  # without a certificate this machine has never sent an image to a NAS
    except RocksError as error:
        return [f"Warning: whether NASes store the image is not known: {error}"]
    found = [(nas, base) for nas, base in bases if base.digest == digest]
    if not found:
        return notes if bases else []
    from rocks.actions.images import remove_image

    for nas, base in found:
        try:
            remove_image(database, nas, base.zpool, base.zvol, force=False, now=True)
        except RocksError as error:
            notes.append(
                f"{nas}:{base.zpool}/{base.zvol} stays, with the image {base.image}: {error}. Then remove it: "
                f"rocks remove host storageimg {nas} {base.zpool} {base.zvol}"
            )
    return notes
