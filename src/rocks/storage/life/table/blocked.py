"""Rows of blocked images: go on, abandon."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Abandon, Cancel, Contradicted, Retry, Unmap
from rocks.storage.life.image import Step
from rocks.storage.life.states import (
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
from rocks.storage.life.table.lost_records import RECOVER
from rocks.storage.life.table.rows import Entry, RejectionRow, Row, done, failed
from rocks.storage.life.transitions import blocked, moves, removal, write_back

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
        blocked.remember_unmap,
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
            blocked.go_on_to_unmap,
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
        Row(BLOCKED, Retry, state, "go on where it was", blocked.go_on, guards.was_in(state))
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
            blocked.begin_abandon,
            starts="abandon",
        )
        for state in HOST_HAS_IT
    ),
    Row(UNMAPPED, Abandon, UNMAPPED, "such copies are suspect", blocked.abandon_copies, guards.HAS_DIRTY),
    Row(
        BLOCKED,
        Abandon,
        BLOCKED,
        "a new epoch; the copy is suspect",
        blocked.begin_abandon,
        starts="abandon",
    ),
    done(BLOCKED, "abandon", UNMAPPED, "the NAS's newest snapshot is the image", removal.operation_done),
    failed(
        BLOCKED,
        "abandon",
        BLOCKED,
        "the volume has a newer grant",
        blocked.not_abandoned,
        guards.GRANT_REFUSED,
    ),
    failed(BLOCKED, "abandon", BLOCKED, "again after a pause", blocked.try_later),
    *(
        Row(
            state,
            Contradicted,
            BLOCKED,
            "the record and the volume have different grants",
            blocked.contradict,
        )
        for state in STATES
    ),
)
