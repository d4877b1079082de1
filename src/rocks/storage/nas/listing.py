"""The rows of the NAS's listings, in the shapes of the specification."""

from __future__ import annotations

import datetime
import json
from typing import Any, Iterable, List, Mapping, Optional, Tuple

from rocks.storage.image.image import Image
from rocks.storage.image.states import (
    DELETING,
    GROWING,
    MAPPED,
    MAPPING,
    MOVING,
    RESTORING,
    RETURNING,
    SEEDING,
    STATES,
    SWITCHING,
    TRANSFERS,
)
from rocks.storage.store.nas import Arrival
from rocks.storage.wire.replies import Fields, ImageRow, SnapshotRow
from rocks.storage.zfs.facts import SnapshotFact

_LOCKED = (MAPPING, MAPPED, SEEDING, SWITCHING, RETURNING, RESTORING, MOVING, GROWING)
"""States that the listing calls locked: a map is rejected, an unmap waits."""

IMPORTING = "its import is not complete; wait for it, or repeat `rocks add host storageimg`"

ARRIVING = "arriving"
"""In the place of a state, for an image that is not of this NAS yet."""


def image_row(
    image: Image,
    attributes: Mapping[str, Any],
    queued_at: int,
    silent_seconds: Optional[float] = None,
    export_failure: str = "",
) -> ImageRow:
    """A row of `list_zvols`, with the state and its word beside it.

    `queued_at`: its transfer, if it has one, was queued then, UNIX seconds. `silent_seconds`: for so long its host has
    sent nothing, None while that is no cause for concern. `export_failure`: why its host does not get its export back,
    '' while it has it.
    """
    transfer = None if image.state == MAPPED and not image.sync else TRANSFERS.get(image.state)
    return ImageRow(
        zvol=image.zvol,
        zpool=image.pool,
        state=image.state,
        word=STATES[image.state].word,
        iscsi_target=image.target,
        remotehost=image.owner,
        remotepool=image.remote_pool if image.owner else None,
        is_sending=None if transfer is None else int(transfer == "seed"),
        is_delete_remote=None if transfer is None else int(transfer == "return"),
        time=None if transfer is None else queued_at,
        nextsync=attributes.get("nextsync"),
        frequency=attributes.get("frequency"),
        locked=image.zvol if image.state in _LOCKED else None,
        size_bytes=image.size_bytes,
        persistent=image.persistent,
        reason=image.reason or export_failure or (IMPORTING if image.importing else ""),
        due_at=image.due_at if image.state == DELETING and image.work is None else None,
        silent_seconds=None if silent_seconds is None else round(silent_seconds),
        image_id=image.image_id,
        peer=image.peer,
        machine=image.machine,
    )


def arrival_row(arrival: Arrival) -> ImageRow:
    """The row of an image that another NAS moves here."""
    return ImageRow(
        arrival.zvol,
        arrival.pool,
        ARRIVING,
        ARRIVING,
        locked=arrival.zvol,
        reason=arrival.reason,
        image_id=arrival.image_id,
        peer=arrival.source,
        machine="",
    )


def first_page(rows: Iterable[Fields], max_bytes: int) -> Tuple[List[Fields], bool]:
    """The first rows, one at least, that take no more than so many bytes as JSON; and whether there are others."""
    page: List[Fields] = []
    size = 0
    for row in rows:
        size += len(json.dumps(row)) + 2
        if page and size > max_bytes:
            return page, True
        page.append(row)
    return page, False


def snapshot_row(snapshot: SnapshotFact) -> SnapshotRow:
    """A row of `list_snapshots`."""
    created = datetime.datetime.fromtimestamp(snapshot.created_seconds, datetime.timezone.utc)
    return SnapshotRow(
        snapshot.name,
        snapshot.guid,
        created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        snapshot.referenced_bytes,
        snapshot.written_bytes,
        len(snapshot.holds),
        snapshot.clones,
        snapshot.holds,
    )
