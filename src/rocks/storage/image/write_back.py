"""A pull and an unmap: the rows of the table and their changes, by which the NAS gets what a host has written; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Tuple

from rocks.storage.image import guards, names, rows
from rocks.storage.image.events import Cancel, PullNow, StartPull, Unmap
from rocks.storage.image.image import Decision, Image, Step
from rocks.storage.image.rows import (
    Entry,
    RejectionRow,
    Row,
    done,
    enter,
    failed,
    fresh,
    into,
    outcomes_of,
    pool_of,
    retried,
    retried_later,
    unmapped,
    with_operation,
)
from rocks.storage.image.states import (
    BLOCKED,
    LOCAL,
    MAPPED,
    MAPPING,
    PULLING,
    REMOTE,
    RETURNING,
    SEEDING,
    SWITCHING,
    UNMAPPED,
    State,
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


# --- rows ------------------------------------------------------------------------------------------------------------


def then_unmap(end: Callable[..., Row], state: State, step: Step, sentence: str) -> Row:
    """The row of a step that ends, as `done` or `failed`, while an unmap waits: it begins with the device."""
    return end(state, step, RETURNING, sentence, begin_unmap, guards.UNMAP_WAITS, "detach")


PULL: Tuple[Entry, ...] = (
    RejectionRow(
        LOCAL,
        StartPull,
        "ZVol {image.zvol} is not persistent: its changes are not pulled",
        guards.NOT_PERSISTENT,
    ),
    Row(
        LOCAL,
        StartPull,
        PULLING,
        "write changes back",
        begin_pull,
        guards.NO_PAUSE,
        starts="pull",
    ),
    done(PULLING, "pull", PULLING, "verify it on the NAS", begin_accept, starts="accept"),
    done(PULLING, "accept", PULLING, "it is the new base", begin_settle, starts="settle"),
    then_unmap(done, PULLING, "settle", "an unmap waits: it makes its own final snapshot"),
    done(PULLING, "settle", LOCAL, "both sides have the snapshot", into(LOCAL)),
    then_unmap(failed, PULLING, "settle", "the final return settles it"),
    failed(PULLING, "settle", LOCAL, "the next pull settles it", into(LOCAL)),
    failed(PULLING, "pull", BLOCKED, "needs operator action", rows.block, guards.NO_MORE_TRIES),
    then_unmap(failed, PULLING, "pull", "the final return includes it"),
    failed(PULLING, "pull", LOCAL, "go on after a pause", pull_failed),
    *retried(PULLING, "accept"),
    *(
        entry
        for state in (LOCAL, PULLING)
        for entry in (
            RejectionRow(
                state,
                PullNow,
                "ZVol {image.zvol} is not persistent: its changes are not pulled",
                guards.NOT_PERSISTENT,
            ),
            Row(state, PullNow, state, "answered when a pull has ended", note_pull),
        )
    ),
)


RETURN: Tuple[Entry, ...] = (
    Row(MAPPED, Unmap, MAPPED, "waits for the copy", wait_to_unmap, guards.UNMAP_WAITS),
    Row(SEEDING, Unmap, SEEDING, "waits for the copy", wait_to_unmap, guards.UNMAP_WAITS),
    *(
        Row(state, Unmap, RETURNING, "try without the copy", begin_unmap, starts="drop")
        for state in (MAPPED, SEEDING)
    ),
    Row(REMOTE, Unmap, RETURNING, "log out", begin_unmap, starts="drop"),
    Row(LOCAL, Unmap, RETURNING, "remove the device", begin_unmap, starts="detach"),
    *(
        Row(state, Unmap, state, "waits for the present step", wait_to_unmap)
        for state in (MAPPING, SWITCHING, PULLING, RETURNING)
    ),
    *(
        Row(state, Cancel, state, "cancel the unmap", cancel_unmap, guards.UNMAP_WAITS)
        for state in (MAPPED, SEEDING, SWITCHING, PULLING)
    ),
    done(
        RETURNING,
        "drop",
        MAPPED,
        "the guest has written: copy first",
        into(MAPPED),
        guards.HAS_CHANGES,
    ),
    done(RETURNING, "drop", RETURNING, "drop the export", begin_leave, starts="leave"),
    failed(
        RETURNING,
        "drop",
        REMOTE,
        "a guest uses it: no unmap",
        abort_unmap,
        guards.IN_USE & guards.WITHOUT_COPY,
    ),
    failed(RETURNING, "drop", MAPPED, "a guest uses it: no unmap", abort_unmap, guards.IN_USE),
    failed(RETURNING, "detach", LOCAL, "a guest uses it: no unmap", abort_unmap, guards.IN_USE),
    done(
        RETURNING,
        "detach",
        RETURNING,
        "back to the base",
        into(RETURNING),
        guards.NOT_PERSISTENT,
        "discard",
    ),
    done(RETURNING, "detach", RETURNING, "final snapshot, send", begin_return, starts="return"),
    done(RETURNING, "return", RETURNING, "verify it on the NAS", begin_confirm, starts="confirm"),
    done(RETURNING, "confirm", UNMAPPED, "the image is written back", written_back),
    done(RETURNING, "discard", RETURNING, "end the grant", begin_leave, starts="leave"),
    done(RETURNING, "leave", UNMAPPED, "no host has it", has_left),
    *retried(RETURNING, "drop", "detach", "return", "discard", "confirm", "leave"),
)
