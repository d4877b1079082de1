"""Blocked images go on, or are abandoned: the rows of the table and their changes; pure.

When an image becomes blocked: `transfers`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Tuple

from rocks.storage.image import guards, moves, write_back
from rocks.storage.image.events import Abandon, Cancel, Contradicted, Retry, Unmap
from rocks.storage.image.image import Decision, Image, Step
from rocks.storage.image.lost_records import RECOVER
from rocks.storage.image.rows import (
    REMEMBERED,
    Entry,
    RejectionRow,
    Row,
    abandon,
    answer,
    block_contradicted,
    contradict,
    done,
    failed,
    fresh,
    operation_done,
    outcomes_of,
    reopened,
    retried_row,
    stay,
    stays,
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


def go_on(image: Image, event: Any, now: int) -> Decision:
    """The open step begins again from its first effect."""
    back = replace(fresh(image), sequence=image.sequence + 1, blocked_from=None, disagrees="")
    return answer(reopened(back), event, now)


def abandon_copies(image: Image, event: Any, now: int) -> Decision:
    """No host has the image, but some have changes: these become suspect and are preserved."""
    epoch = max(image.epoch, 0 if event.standing is None else event.standing.epoch) + 1
    aborted = replace(image, epoch=epoch, abandon_reason=event.reason)
    for copy in image.copies:
        if copy.kind == "dirty":
            aborted = aborted.with_copy(copy.host, copy.pool, "suspect", copy.guid)
    return answer(aborted, event, now)


def not_abandoned(image: Image, event: Any, now: int) -> Decision:
    """The volume has got a higher epoch since: abandoning again exceeds that one."""
    stopped = replace(image, work=None, operation_id="")
    failed = outcomes_of((image.operation_id,), event.family, event.message)
    return Decision(contradict(stopped, Contradicted(event.message), now), failed)


# --- rows ------------------------------------------------------------------------------------------------------------


_UNMAPPED_BY: Tuple[Tuple[State, Step], ...] = ((LOCAL, "detach"), (REMOTE, "drop"))
"""States without an open step: an unmap that was remembered begins it; in the others it waits for the open one."""


_ABANDONED = "a new epoch; the copy is suspect"
_CONTRADICTED = "the record and the volume have different grants"


BLOCK: Tuple[Entry, ...] = (
    *(
        RejectionRow(BLOCKED, event, "ZVol {image.zvol} is already being given up", guards.ABANDONING, "busy")
        for event in (Retry, Abandon)
    ),
    stays(BLOCKED, Unmap, "remembered: done when it goes on", remember_unmap, guards.GRANTED),
    stays(BLOCKED, Cancel, "cancel the unmap", write_back.cancel_unmap, guards.UNMAP_WAITS),
    *RECOVER,
    *(
        Row(
            BLOCKED,
            Retry,
            RETURNING,
            "an unmap was remembered",
            answer,
            guards.was_in(state) & guards.UNMAP_WAITS,
            starts=step,
        )
        for state, step in _UNMAPPED_BY
    ),
    # a NAS that has taken the image over reports that, and one that has it receives nothing twice
    Row(
        BLOCKED,
        Retry,
        MOVING,
        "send again",
        answer,
        guards.was_in(MOVING) & guards.NOTHING_OPEN,
        starts="send",
    ),
    *(
        Row(BLOCKED, Retry, state, "go on where it was", go_on, guards.was_in(state), enter=stay)
        for state in (UNMAPPED, *HOST_HAS_IT, DELETING, RESTORING, MOVING, GROWING)
    ),
    RejectionRow(
        BLOCKED,
        Abandon,
        "ZVol {image.zvol} cannot be given up while a restored snapshot takes its place; fix the reported cause, then "
        "run rocks clean host storagemap to go on",
        guards.EXCHANGING,
    ),
    Row(
        MOVING,
        Abandon,
        BLOCKED,
        "a new epoch; it stays here",
        moves.abandon_move,
        starts="abandon",
        enter=stay,
    ),
    *(
        Row(state, Abandon, BLOCKED, _ABANDONED, abandon, starts="abandon", enter=stay)
        for state in HOST_HAS_IT
    ),
    Row(UNMAPPED, Abandon, UNMAPPED, "such copies are suspect", abandon_copies, guards.HAS_DIRTY),
    Row(BLOCKED, Abandon, BLOCKED, _ABANDONED, abandon, starts="abandon", enter=stay),
    done(BLOCKED, "abandon", UNMAPPED, "the NAS's newest snapshot is the image", operation_done),
    failed(
        BLOCKED,
        "abandon",
        BLOCKED,
        "the volume has a newer grant",
        not_abandoned,
        guards.GRANT_REFUSED,
        enter=stay,
    ),
    retried_row(BLOCKED, "abandon"),
    *(
        Row(state, Contradicted, BLOCKED, _CONTRADICTED, change, enter=stay)
        for state in STATES
        for change in (contradict if state == BLOCKED else block_contradicted,)
    ),
)
