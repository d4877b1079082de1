"""Take images back from hosts, bring changes home, or undo a map: what is waited for while an image moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.reach_storage import open_storage
from rocks.cluster.image_plan import check_volume_name
from rocks.imgstorage.client import questions
from rocks.imgstorage.client.asking import WRITE_BACK_SECONDS as _HOME_SECONDS

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.imgstorage.client import Query, Watcher

WRITE_BACK_SECONDS = _HOME_SECONDS
"""How long a command waits for an image to come home, unless it is told otherwise."""


def unmap_image(
    database: Database, nas: str, volume: str, watcher: Watcher, seconds: float = WRITE_BACK_SECONDS
) -> None:
    """Unmap the image; returns when the NAS has all of it, and raises the NAS's own error.

    The connection to the database is closed while that lasts. NoAnswerError (BusyError) after `seconds`.
    """
    check_volume_name(volume)
    _wait(database, questions.unmap_image(nas, volume), watcher, seconds)


def pull_image(
    database: Database, nas: str, volume: str, watcher: Watcher, seconds: float = WRITE_BACK_SECONDS
) -> None:
    """Bring what a running guest has written home; returns when the NAS has it. As `unmap_image` otherwise."""
    check_volume_name(volume)
    _wait(database, questions.pull_image(nas, volume), watcher, seconds)


def cancel_map(database: Database, nas: str, volume: str) -> None:
    """Undo a map that is under way, or forget an unmap that still waits. StateError when there is neither."""
    check_volume_name(volume)
    with open_storage(database) as storage:
        storage.ask(questions.cancel_image(nas, volume))


def _wait(database: Database, wanted: Query[None], watcher: Watcher, seconds: float) -> None:
    storage = open_storage(database)
    # the server would end a connection that is idle for hours
    database.commit()
    database.close()
    with storage:
        storage.wait(wanted, seconds, watcher)
