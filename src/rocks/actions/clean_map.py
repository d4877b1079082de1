"""Have an image unmapped that does not get there by itself, without ever losing what only its host has, unless told.

Where image storage was repaired by hand, `clean` threw the host's copy away. Here it is the safe way to the same end:
what is under way is undone, what is idle goes home, what is held is tried again, and only an operator's word gives up
changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.reach_storage import open_storage
from rocks.cluster.image_plan import check_volume_name
from rocks.cluster.values import check_text
from rocks.errors import BusyError, Code, RocksError, StateError, UserError
from rocks.imgstorage.client import questions
from rocks.imgstorage.client.asking import MAP_SECONDS, WRITE_BACK_SECONDS

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.imgstorage.client import StorageClient, Watcher
    from rocks.imgstorage.client.answers import ImageRow

NODE_TYPES = ("", "vmc", "nas")
LONGEST_REASON = 1000
_MOVING = ("seeding", "switching", "pulling", "returning")


def clean_map(
    database: Database, nas: str, volume: str, node_type: str, reason: str | None, watcher: Watcher
) -> str:
    """Clean up; returns what was done, for a person. With a `reason`, what only its host has is given up.

    `node_type` is a word of old scripts: the NAS has the host do its part. StateError when the NAS has no such image or
    nobody has it; BusyError while it moves.
    """
    check_volume_name(volume)
    if node_type not in NODE_TYPES:
        raise UserError(f'nodetype "{node_type}" must be vmc or nas')
    if reason is not None:
        check_text("reason", reason, LONGEST_REASON)
    storage = open_storage(database)
    database.commit()
    database.close()
    with storage:
        row = next((row for row in storage.ask(questions.images_of(nas)) if row.zvol == volume), None)
        if row is None:
            raise StateError(f"ZVol {volume} not found in database", code=Code.IMAGE_UNKNOWN)
        if row.remotehost is None and row.state != "held" and reason is None:
            raise StateError(f"ZVol {volume} is not mapped", code=Code.IMAGE_NOT_MAPPED)
        if reason is not None:
            return _give_up(storage, nas, row, reason, watcher)
        return _clean(storage, nas, row, watcher)


def _clean(storage: StorageClient, nas: str, row: ImageRow, watcher: Watcher) -> str:
    if row.state == "held":
        lost = _what_would_be_lost(storage, nas, row)
        storage.ask(questions.retry_image(nas, row.zvol))
        return (
            f"{nas}:{row.zvol} was held ({row.reason}) and goes on where it stopped. If {row.remotehost} is gone for "
            f'good and it is held again, force=yes reason="…" gives up {lost}'
        )
    if row.state == "mapping":
        storage.ask(questions.cancel_image(nas, row.zvol), MAP_SECONDS)
        return f"{nas}:{row.zvol}: its mapping to {row.remotehost} is undone"
    if row.state in _MOVING or row.is_sending is not None:
        raise BusyError(
            f"ZVol {row.zvol} is busy: it is {row.state}, which ends by itself: rocks list host storageop {nas}"
        )
    storage.wait(questions.unmap_image(nas, row.zvol), WRITE_BACK_SECONDS, watcher)
    return f"{nas}:{row.zvol} is unmapped from {row.remotehost}, with all its changes"


def _give_up(storage: StorageClient, nas: str, row: ImageRow, reason: str, watcher: Watcher) -> str:
    lost = _what_would_be_lost(storage, nas, row)
    storage.wait(questions.abandon_image(nas, row.zvol, reason), MAP_SECONDS, watcher)
    return f"{nas}:{row.zvol} is unmapped from {row.remotehost}; given up: {lost}"


def _what_would_be_lost(storage: StorageClient, nas: str, row: ImageRow) -> str:
    """In words: what the host has beyond the NAS's newest snapshot."""
    if row.remotehost is None:
        return "nothing of a host"
    try:
        snapshots = storage.ask(questions.snapshots_of(nas, row.zvol))
    except RocksError:
        snapshots = ()
    since = f" after {snapshots[-1].created} (snapshot {snapshots[-1].name})" if snapshots else ""
    return f"whatever was written on {row.remotehost}{since}"
