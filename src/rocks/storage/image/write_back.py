"""A pull and an unmap: the rows of the table and their changes, by which the NAS gets what a host has written; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Tuple

from rocks.storage.image import guards, names
from rocks.storage.image.events import Cancel, PullNow, StartPull, Unmap
from rocks.storage.image.image import Decision, Image, Step
from rocks.storage.image.rows import (
    Entry,
    RejectionRow,
    Row,
    blocked,
    done,
    enter,
    failed,
    outcomes_of,
    pool_of,
    retried,
    retried_later,
    stays,
    unmapped,
    with_operation,
)
from rocks.storage.image.states import (
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


def begin_pull(image: Image, event: Any, now: int) -> Image:
    """An interrupted snapshot is sent first, so that its resume token is used.

    Pulls requested after it was named wait for the next one.
    """
    if image.pending_name is not None:
        return image
    return replace(begin_return(image, event, now), covered_ids=image.pull_ids)


def note_pull(image: Image, event: Any, now: int) -> Image:
    """A requested pull is noted; the scheduler starts it."""
    return replace(image, pull_ids=with_operation(image.pull_ids, event.op_id))


def begin_settle(image: Image, event: Any, now: int) -> Decision:
    """The NAS has the snapshot: it is the new base."""
    based = replace(
        image,
        base_name=image.pending_name,
        base_guid=event.facts.guid,
        pending_name=None,
        pull_ids=tuple(op_id for op_id in image.pull_ids if op_id not in image.covered_ids),
        covered_ids=(),
    ).with_copy(image.owner or "", pool_of(image), "dirty", event.facts.guid)
    return Decision(based, outcomes_of(image.covered_ids))


# --- unmap ---------------------------------------------------------------------------------------------------------


def note_unmap(image: Image, event: Any, now: int) -> Image:
    """The request is answered when the image is written back."""
    return replace(image, unmap_ids=with_operation(image.unmap_ids, event.op_id))


def cancel_unmap(image: Image, event: Any, now: int) -> Decision:
    """The image stays with its host; the unmaps that waited fail."""
    refused = _no_unmap(image, f"the unmapping of ZVol {image.zvol} was cancelled")
    return replace(refused, outcomes=(*refused.outcomes, *outcomes_of((event.op_id,))))


def abort_drop(image: Image, event: Any, now: int) -> Decision:
    """A guest has the device open: nothing was changed, and the unmaps that waited fail."""
    return _no_unmap(image, f"Error detaching iSCSI target from compute node: {event.message}")


def abort_detach(image: Image, event: Any, now: int) -> Decision:
    """As `abort_drop`, of the device of a copy."""
    return _no_unmap(image, f"ZVol {image.zvol} stays on {image.owner}: {event.message}")


def _no_unmap(image: Image, text: str) -> Decision:
    return Decision(replace(image, unmap_ids=()), outcomes_of(image.unmap_ids, "state", text))


def begin_return(image: Image, event: Any, now: int) -> Image:
    """The host takes a snapshot, and sends it."""
    return replace(image, pending_name=names.snapshot_name(image.epoch, image.sequence, now))


def begin_confirm(image: Image, event: Any, now: int) -> Image:
    """The host reports that the NAS has the final snapshot."""
    return replace(image, final_guid=event.facts.guid)


def discarded(image: Image, event: Any, now: int) -> Image:
    """The host's copy equals its base."""
    return image.with_copy(image.owner or "", pool_of(image), "clean", image.base_guid)


def written_back(image: Image, event: Any, now: int) -> Decision:
    """The NAS has the final snapshot: the host's copy is a cache from here on."""
    based = replace(image, base_name=image.pending_name, base_guid=image.final_guid)
    return has_left(discarded(based, event, now), event, now)


def has_left(image: Image, event: Any, now: int) -> Decision:
    """No host has the image."""
    return Decision(unmapped(image), outcomes_of((*image.pull_ids, *image.unmap_ids)))


# --- rows ------------------------------------------------------------------------------------------------------------


def then_unmap(end: Callable[..., Row], state: State, step: Step, sentence: str) -> Row:
    """The row of a step that ends, as `done` or `failed`, while an unmap waits: it begins with the device."""
    return end(state, step, RETURNING, sentence, guard=guards.UNMAP_WAITS, starts="detach")


_NO_PULL = "ZVol {image.zvol} is not persistent: its changes are not pulled"
_IN_USE = "a guest uses it: no unmap"

PULL: Tuple[Entry, ...] = (
    RejectionRow(LOCAL, StartPull, _NO_PULL, guards.NOT_PERSISTENT),
    Row(
        LOCAL,
        StartPull,
        PULLING,
        "write changes back",
        begin_pull,
        guards.NO_PAUSE,
        starts="pull",
        enter=enter,
    ),
    done(PULLING, "pull", PULLING, "verify it on the NAS", starts="accept", enter=enter),
    done(PULLING, "accept", PULLING, "it is the new base", begin_settle, starts="settle"),
    then_unmap(done, PULLING, "settle", "an unmap waits: it makes its own final snapshot"),
    done(PULLING, "settle", LOCAL, "both sides have the snapshot"),
    then_unmap(failed, PULLING, "settle", "the final return settles it"),
    failed(PULLING, "settle", LOCAL, "the next pull settles it"),
    blocked(PULLING, "pull"),
    then_unmap(failed, PULLING, "pull", "the final return includes it"),
    # the same snapshot is sent
    failed(PULLING, "pull", LOCAL, "go on after a pause", retried_later, enter=enter),
    *retried(PULLING, "accept"),
    *(
        entry
        for state in (LOCAL, PULLING)
        for entry in (
            RejectionRow(state, PullNow, _NO_PULL, guards.NOT_PERSISTENT),
            stays(state, PullNow, "answered when a pull has ended", note_pull),
        )
    ),
)


RETURN: Tuple[Entry, ...] = (
    stays(MAPPED, Unmap, "waits for the copy", note_unmap, guards.UNMAP_WAITS),
    stays(SEEDING, Unmap, "waits for the copy", note_unmap, guards.UNMAP_WAITS),
    Row(MAPPED, Unmap, RETURNING, "try without the copy", note_unmap, starts="drop"),
    Row(SEEDING, Unmap, RETURNING, "try without the copy", note_unmap, starts="drop"),
    Row(REMOTE, Unmap, RETURNING, "log out", note_unmap, starts="drop"),
    Row(LOCAL, Unmap, RETURNING, "remove the device", note_unmap, starts="detach"),
    *(
        stays(state, Unmap, "waits for the present step", note_unmap)
        for state in (MAPPING, SWITCHING, PULLING, RETURNING)
    ),
    *(
        stays(state, Cancel, "cancel the unmap", cancel_unmap, guards.UNMAP_WAITS)
        for state in (MAPPED, SEEDING, SWITCHING, PULLING)
    ),
    done(RETURNING, "drop", MAPPED, "the guest has written: copy first", guard=guards.HAS_CHANGES),
    done(RETURNING, "drop", RETURNING, "drop the export", starts="leave"),
    failed(RETURNING, "drop", REMOTE, _IN_USE, abort_drop, guards.IN_USE & guards.WITHOUT_COPY),
    failed(RETURNING, "drop", MAPPED, _IN_USE, abort_drop, guards.IN_USE),
    failed(RETURNING, "detach", LOCAL, _IN_USE, abort_detach, guards.IN_USE),
    done(RETURNING, "detach", RETURNING, "back to the base", guard=guards.NOT_PERSISTENT, starts="discard"),
    done(RETURNING, "detach", RETURNING, "final snapshot, send", begin_return, starts="return"),
    done(RETURNING, "return", RETURNING, "verify it on the NAS", begin_confirm, starts="confirm"),
    done(RETURNING, "confirm", UNMAPPED, "the image is written back", written_back),
    done(RETURNING, "discard", RETURNING, "end the grant", discarded, starts="leave"),
    done(RETURNING, "leave", UNMAPPED, "no host has it", has_left),
    *retried(RETURNING, "drop", "detach", "return", "discard", "confirm", "leave"),
)
