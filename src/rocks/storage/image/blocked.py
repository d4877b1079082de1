"""Blocked images go on, or are abandoned: the rows of the table and their changes; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Tuple

from rocks.storage.image import guards, moves, removal, rows, write_back
from rocks.storage.image.events import Abandon, Cancel, Contradicted, Retry, Unmap
from rocks.storage.image.image import Decision, Image, Step
from rocks.storage.image.lost_records import RECOVER
from rocks.storage.image.rows import (
    REMEMBERED,
    Entry,
    RejectionRow,
    Row,
    contradict,
    done,
    enter,
    failed,
    fresh,
    outcomes_of,
    reopened,
    with_operation,
)
from rocks.storage.image.states import (
    BLOCKED,
    DELETING,
    GROWING,
    HOST_HAS_IT,
    LOCAL,
    MOVING,
    REMOTE,
    RESTORING,
    RETURNING,
    STATES,
    UNMAPPED,
    State,
)


def remember_unmap(image: Image, event: Any, now: int) -> Decision:
    """The machine has ended, or a command asks: answered now, and done when the image goes on."""
    text = (
        f"ZVol {image.zvol} is blocked and needs operator action: {image.reason}; the unmapping is remembered and done "
        "when it goes on (rocks clean host storagemap)"
    )
    known = replace(image, unmap_ids=with_operation(image.unmap_ids, REMEMBERED))
    return Decision(known, outcomes_of((event.op_id,), "state", text))


def go_on_to_unmap(image: Image, event: Any, now: int) -> Decision:
    """The cause is fixed, and an unmap was remembered."""
    return Decision(fresh(enter(image, RETURNING)), outcomes_of((event.op_id,)))


def go_on(image: Image, event: Any, now: int) -> Decision:
    """Return to the former state; the open step begins again from its first effect."""
    assert image.blocked_from is not None
    back = fresh(enter(image, image.blocked_from))
    outcomes = outcomes_of((event.op_id,))
    if image.work is None:
        return Decision(back, outcomes)
    return Decision(reopened(back, image.work), outcomes)


def abandon_copies(image: Image, event: Any, now: int) -> Decision:
    """No host has the image, but some have changes: these become suspect and are preserved."""
    epoch = max(image.epoch, 0 if event.standing is None else event.standing.epoch) + 1
    aborted = replace(fresh(enter(image, UNMAPPED)), epoch=epoch, abandon_reason=event.reason)
    for copy in image.copies:
        if copy.kind == "dirty":
            aborted = aborted.with_copy(copy.host, copy.pool, "suspect", copy.guid)
    return Decision(aborted, outcomes_of((event.op_id,)))


def not_abandoned(image: Image, event: Any, now: int) -> Decision:
    """The volume has got a higher epoch since: abandoning again exceeds that one."""
    failed = outcomes_of((image.operation_id,), event.family, event.message)
    stopped = replace(image, work=None, operation_id="", retry_at=None)
    blocked = contradict(stopped, Contradicted(event.message), now)
    return replace(blocked, outcomes=failed)


# --- rows ------------------------------------------------------------------------------------------------------------


_UNMAPPED_BY: Tuple[Tuple[State, Step], ...] = ((LOCAL, "detach"), (REMOTE, "drop"))
"""States without an open step: an unmap that was remembered begins it; in the others it waits for the open one."""


BLOCK: Tuple[Entry, ...] = (
    *(
        RejectionRow(BLOCKED, event, "ZVol {image.zvol} is already being given up", guards.ABANDONING, "busy")
        for event in (Retry, Abandon)
    ),
    Row(
        BLOCKED,
        Unmap,
        BLOCKED,
        "remembered: done when it goes on",
        remember_unmap,
        guards.GRANTED,
    ),
    Row(BLOCKED, Cancel, BLOCKED, "cancel the unmap", write_back.cancel_unmap, guards.UNMAP_WAITS),
    *RECOVER,
    *(
        Row(
            BLOCKED,
            Retry,
            RETURNING,
            "an unmap was remembered",
            go_on_to_unmap,
            guards.was_in(state) & guards.UNMAP_WAITS,
            starts=step,
        )
        for state, step in _UNMAPPED_BY
    ),
    Row(
        BLOCKED,
        Retry,
        MOVING,
        "send again",
        moves.resume_move,
        guards.was_in(MOVING) & guards.NOTHING_OPEN,
        starts="send",
    ),
    *(
        Row(BLOCKED, Retry, state, "go on where it was", go_on, guards.was_in(state))
        for state in (UNMAPPED, *HOST_HAS_IT, DELETING, RESTORING, MOVING, GROWING)
    ),
    RejectionRow(
        BLOCKED,
        Abandon,
        "ZVol {image.zvol} cannot be given up while a restored snapshot takes its place; fix the reported cause, then "
        "run rocks clean host storagemap to go on",
        guards.EXCHANGING,
    ),
    Row(MOVING, Abandon, BLOCKED, "a new epoch; it stays here", moves.abandon_move, starts="abandon"),
    *(
        Row(
            state,
            Abandon,
            BLOCKED,
            "a new epoch; the copy is suspect",
            rows.begin_abandon,
            starts="abandon",
        )
        for state in HOST_HAS_IT
    ),
    Row(UNMAPPED, Abandon, UNMAPPED, "such copies are suspect", abandon_copies, guards.HAS_DIRTY),
    Row(
        BLOCKED,
        Abandon,
        BLOCKED,
        "a new epoch; the copy is suspect",
        rows.begin_abandon,
        starts="abandon",
    ),
    done(BLOCKED, "abandon", UNMAPPED, "the NAS's newest snapshot is the image", removal.operation_done),
    failed(
        BLOCKED,
        "abandon",
        BLOCKED,
        "the volume has a newer grant",
        not_abandoned,
        guards.GRANT_REFUSED,
    ),
    failed(BLOCKED, "abandon", BLOCKED, "again after a pause", rows.try_later),
    *(
        Row(
            state,
            Contradicted,
            BLOCKED,
            "the record and the volume have different grants",
            rows.contradict,
        )
        for state in STATES
    ),
)
