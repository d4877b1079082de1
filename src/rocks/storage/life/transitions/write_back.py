"""Transitions of a pull and of an unmap: changes are written back; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rocks.storage.life import names
from rocks.storage.life.events import Unmap
from rocks.storage.life.image import Decision, Image
from rocks.storage.life.states import LOCAL, MAPPED, PULLING, REMOTE, RETURNING
from rocks.storage.life.transitions.record_changes import (
    enter,
    fresh,
    outcomes_of,
    pool_of,
    retried_later,
    unmapped,
    with_operation,
)

# --- write changes back ------------------------------------------------------------------------------------------


def begin_pull(image: Image, event: Any, now: int) -> Decision:
    """An interrupted snapshot is sent first, so that its resume token is used.

    Pulls requested after it was named wait for the next one.
    """
    pulling = enter(image, PULLING)
    if image.pending_name is None:
        pulling = replace(pulling, covered_ids=image.pull_ids)
    name = image.pending_name or names.snapshot_name(pulling.epoch, pulling.sequence, now)
    pulling = replace(pulling, pending_name=name)
    return Decision(pulling)


def note_pull(image: Image, event: Any, now: int) -> Decision:
    """A requested pull is noted; the scheduler starts it."""
    return Decision(replace(image, pull_ids=with_operation(image.pull_ids, event.op_id)))


def begin_accept(image: Image, event: Any, now: int) -> Decision:
    """The host reports that the NAS has the snapshot."""
    assert image.pending_name is not None
    return Decision(enter(image, PULLING))


def begin_settle(image: Image, event: Any, now: int) -> Decision:
    """The NAS has the snapshot: it is the new base."""
    based = replace(
        fresh(enter(image, PULLING)),
        base_name=image.pending_name,
        base_guid=event.facts.guid,
        pending_name=None,
        pull_ids=tuple(op_id for op_id in image.pull_ids if op_id not in image.covered_ids),
        covered_ids=(),
    ).with_copy(image.owner or "", pool_of(image), "dirty", event.facts.guid)
    return Decision(based, outcomes_of(image.covered_ids))


def pull_failed(image: Image, event: Any, now: int) -> Decision:
    """Wait for the next slot, after a pause; then the same snapshot is sent."""
    return Decision(retried_later(enter(image, LOCAL), image, event, now))


# --- unmap ---------------------------------------------------------------------------------------------------------


def wait_to_unmap(image: Image, event: Any, now: int) -> Decision:
    """The present step ends first; the request is answered when the image is written back."""
    return Decision(replace(image, unmap_ids=with_operation(image.unmap_ids, event.op_id)))


def cancel_unmap(image: Image, event: Any, now: int) -> Decision:
    """The image stays with its host; the unmaps that waited fail."""
    outcomes = outcomes_of(image.unmap_ids, "state", f"the unmapping of ZVol {image.zvol} was cancelled")
    return Decision(replace(image, unmap_ids=()), (*outcomes, *outcomes_of((event.op_id,))))


def begin_unmap(image: Image, event: Any, now: int) -> Decision:
    """Unmap from the host; unless the event is the Unmap itself, the waiting operations are in the record already."""
    ids = with_operation(image.unmap_ids, event.op_id) if isinstance(event, Unmap) else image.unmap_ids
    return Decision(replace(fresh(enter(image, RETURNING)), unmap_ids=ids))


def abort_unmap(image: Image, event: Any, now: int) -> Decision:
    """A guest has the device open: nothing was changed, and the unmaps that waited fail."""
    state, text = LOCAL, f"ZVol {image.zvol} stays on {image.owner}: {event.message}"
    if image.work is not None and image.work.step == "drop":
        state = MAPPED if image.sync else REMOTE
        text = f"Error detaching iSCSI target from compute node: {event.message}"
    stays = replace(fresh(enter(image, state)), unmap_ids=())
    return Decision(stays, outcomes_of(image.unmap_ids, "state", text))


def begin_return(image: Image, event: Any, now: int) -> Decision:
    """The device is gone; no more writes can come."""
    back = fresh(enter(image, RETURNING))
    back = replace(back, pending_name=names.snapshot_name(back.epoch, back.sequence, now))
    return Decision(back)


def begin_confirm(image: Image, event: Any, now: int) -> Decision:
    """The host reports that the NAS has the final snapshot."""
    assert image.pending_name is not None
    back = replace(fresh(enter(image, RETURNING)), final_guid=event.facts.guid)
    return Decision(back)


def begin_leave(image: Image, event: Any, now: int) -> Decision:
    """The host has no changes to write back."""
    back = fresh(enter(image, RETURNING))
    if image.work is not None and image.work.step == "discard":
        back = back.with_copy(image.owner or "", pool_of(image), "clean", image.base_guid)
    return Decision(back)


def written_back(image: Image, event: Any, now: int) -> Decision:
    """The NAS has the final snapshot: the host's copy is a cache from here on."""
    based = replace(image, base_name=image.pending_name, base_guid=image.final_guid)
    based = based.with_copy(image.owner or "", pool_of(image), "clean", image.final_guid)
    return Decision(unmapped(based), outcomes_of((*image.pull_ids, *image.unmap_ids)))


def has_left(image: Image, event: Any, now: int) -> Decision:
    """No host has the image."""
    return Decision(unmapped(image), outcomes_of((*image.pull_ids, *image.unmap_ids)))
