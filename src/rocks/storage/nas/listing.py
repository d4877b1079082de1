"""The rows of the NAS's listings, in the shapes of the specification."""

from __future__ import annotations

import datetime
import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from rocks.storage.life.image import Image
from rocks.storage.life.states import (
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
from rocks.storage.nas.progress import ProgressBoard
from rocks.storage.store.nas import Arrival, Operation
from rocks.storage.wire.replies import SnapshotRow
from rocks.storage.zfs.facts import SnapshotFact

_LOCKED = (MAPPING, MAPPED, SEEDING, SWITCHING, RETURNING, RESTORING, MOVING, GROWING)
"""States that the listing calls locked: a map is rejected, an unmap waits."""

ARRIVING = "arriving"
"""In the place of a state, for an image that is not of this NAS yet."""


def image_row(
    image: Image,
    attributes: Mapping[str, Any],
    queued_at: int,
    silent_seconds: Optional[float] = None,
    export_failure: str = "",
) -> Dict[str, Any]:
    """A row of `list_zvols` (specification §2.4), with the state and its word beside it.

    `queued_at`: its transfer, if it has one, was queued then, UNIX seconds. `silent_seconds`: for so long its host has
    sent nothing, None while that is no cause for concern. `export_failure`: why its host does not get its export back,
    '' while it has it.
    """
    transfer = None if image.state == MAPPED and not image.sync else TRANSFERS.get(image.state)
    return {
        "zvol": image.zvol,
        "zpool": image.pool,
        "iscsi_target": image.target,
        "remotehost": image.owner,
        "remotepool": image.remote_pool if image.owner else None,
        "is_sending": None if transfer is None else int(transfer == "seed"),
        "is_delete_remote": None if transfer is None else int(transfer == "return"),
        "time": None if transfer is None else queued_at,
        "nextsync": attributes.get("nextsync"),
        "frequency": attributes.get("frequency"),
        "locked": image.zvol if image.state in _LOCKED else None,
        "state": image.state,
        "word": STATES[image.state].word,
        "epoch": image.epoch,
        "size_bytes": image.size_bytes,
        "persistent": image.persistent,
        "reason": image.reason or export_failure,
        "image_id": image.image_id,
        "machine": image.machine,
        "peer": image.peer,
        "due_at": image.due_at if image.state == DELETING and image.work is None else None,
        "silent_seconds": None if silent_seconds is None else round(silent_seconds),
    }


def arrival_row(arrival: Arrival) -> Dict[str, Any]:
    """The same for an image that another NAS moves here."""
    return {
        **image_row(Image(arrival.image_id, "", arrival.pool, arrival.zvol), {}, 0),
        "locked": arrival.zvol,
        "state": ARRIVING,
        "word": ARRIVING,
        "epoch": arrival.epoch,
        "peer": arrival.source,
        "reason": arrival.reason,
    }


def first_page(rows: Iterable[Dict[str, Any]], max_bytes: int) -> Tuple[List[Dict[str, Any]], bool]:
    """The first rows, one at least, that take no more than so many bytes as JSON; and whether there are others."""
    page: List[Dict[str, Any]] = []
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


def operation_row(operation: Operation, image: Optional[Image], progress: ProgressBoard) -> Dict[str, Any]:
    """A row of `list_operations`."""
    return {
        "op": operation.op_id,
        "action": operation.action,
        "image": operation.zvol,
        **progress.fields(image),
    }
