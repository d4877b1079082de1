"""Destroy an image, or make an earlier snapshot its content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.actions.reach_storage import open_storage
from rocks.clock import Deadline, wait_seconds
from rocks.cluster.image_places import check_pool_name
from rocks.cluster.image_plan import check_volume_name
from rocks.errors import BusyError, StateError, UserError
from rocks.imgstorage.client import questions
from rocks.imgstorage.client.asking import MAP_SECONDS

if TYPE_CHECKING:
    from rocks.database.connection import Database
    from rocks.imgstorage.client import Watcher

GONE_SECONDS = 300.0
_LOOK_SECONDS = 0.5


def remove_image(database: Database, nas: str, zpool: str, volume: str, force: bool) -> None:
    """Destroy the volume with its snapshots; returns when it is gone.

    StateError while a host has it, others need it, or, without `force`, a host's copy has changes that the NAS has
    not; BusyError when it takes longer than we wait.
    """
    check_pool_name(zpool)
    check_volume_name(volume)
    with open_storage(database) as storage:
        storage.ask(questions.delete_image(nas, zpool, volume, force), MAP_SECONDS)
        deadline = Deadline(GONE_SECONDS)
        while not deadline.passed():
            row = next((row for row in storage.ask(questions.images_of(nas)) if row.zvol == volume), None)
            if row is None:
                return
            if row.state != "deleting":
                raise StateError(
                    f"ZVol {volume} is not destroyed, it is {row.state}: {row.reason or 'see its NAS'}"
                )
            wait_seconds(_LOOK_SECONDS)
    raise BusyError(
        f"ZVol {volume} is still being destroyed: rocks list host storagemap {nas} shows when it is gone"
    )


def restore_image(database: Database, nas: str, volume: str, snapshot: str, watcher: Watcher) -> None:
    """Make the snapshot the present content; what is there now is kept beside it. StateError unless unmapped."""
    check_volume_name(volume)
    if not snapshot:
        raise UserError(
            f"name the snapshot: snap=NAME, one of those that rocks list host storagesnap {nas} {volume} shows"
        )
    with open_storage(database) as storage:
        storage.wait(questions.restore_image(nas, volume, snapshot), MAP_SECONDS, watcher)
