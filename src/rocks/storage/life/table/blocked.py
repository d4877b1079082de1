"""Rows of blocked and lost images: recover from what the volume and the host report, go on, abandon."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Abandon, Cancel, Contradicted, Retry, Unmap
from rocks.storage.life.facts import Stage
from rocks.storage.life.image import Step
from rocks.storage.life.states import (
    BLOCKED,
    DELETING,
    GROWING,
    HOST_HAS_IT,
    LOCAL,
    MAPPED,
    MOVING,
    REMOTE,
    RESTORING,
    RETURNING,
    STATES,
    SWITCHING,
    UNMAPPED,
    State,
)
from rocks.storage.life.table.rows import Entry, RejectionRow, Row, done, failed
from rocks.storage.life.transitions import blocked, lost_records, mapping, moves, removal, write_back

_WITH_A_COPY: Tuple[Stage, ...] = ("merging", "linear")
_RECOVERY_STEPS: Tuple[Step, ...] = ("look", "attach_overlay", "attach_remote")

_UNMAPPED_BY: Tuple[Tuple[State, Step], ...] = ((LOCAL, "detach"), (REMOTE, "drop"))
"""States without an open step: an unmap that was remembered begins it; in the others it waits for the open one."""


_RECOVER: Tuple[Entry, ...] = (
    Row(
        BLOCKED,
        Retry,
        BLOCKED,
        "ask the host again",
        lost_records.look_again,
        guards.RECOVERING,
        starts="look",
    ),
    Row(
        BLOCKED,
        Retry,
        DELETING,
        "the volume says that it was removed, or moved to another NAS",
        lost_records.take_removed,
        guards.DISAGREES & guards.STANDS_FREE & guards.STANDS_REMOVED,
        starts="mark",
    ),
    Row(
        BLOCKED,
        Retry,
        RETURNING,
        "the volume says that no host has it",
        lost_records.take_unmapped,
        guards.DISAGREES & guards.STANDS_FREE,
        starts="leave",
    ),
    Row(
        BLOCKED,
        Retry,
        BLOCKED,
        "ask the host that the volume names",
        lost_records.begin_look,
        guards.DISAGREES,
        starts="look",
    ),
    done(
        BLOCKED,
        "look",
        SWITCHING,
        "it may still read from the NAS",
        lost_records.found_merging,
        guards.found_stage("merging") & guards.HAS_BASE,
        "switch",
    ),
    *(
        done(
            BLOCKED,
            "look",
            SWITCHING,
            "drop the export, merge what is left",
            lost_records.found_merging,
            guards.found_stage(stage),
            "merge",
        )
        for stage in _WITH_A_COPY
    ),
    done(
        BLOCKED,
        "look",
        BLOCKED,
        "restore the export",
        lost_records.found_disk,
        guards.found_stage("overlay") & guards.HAS_BASE,
        "attach_overlay",
    ),
    done(
        BLOCKED,
        "look",
        BLOCKED,
        "restore the export",
        lost_records.found_disk,
        guards.found_stage("remote") & guards.HAS_INITIATOR,
        "attach_remote",
    ),
    done(
        BLOCKED,
        "look",
        RETURNING,
        "end the grant",
        lost_records.found_nothing,
        guards.FOUND_NOTHING,
        "leave",
    ),
    done(
        BLOCKED,
        "look",
        RETURNING,
        "back to the base",
        lost_records.found_unwanted_changes,
        guards.FOUND_COPY & guards.HAS_BASE & guards.TO_DISCARD,
        "discard",
    ),
    done(
        BLOCKED,
        "look",
        RETURNING,
        "final snapshot, send",
        lost_records.found_changes,
        guards.FOUND_COPY,
        "return",
    ),
    done(BLOCKED, "look", BLOCKED, "needs operator action", lost_records.found_contradiction),
    *(
        done(
            BLOCKED,
            step,
            RETURNING,
            "an unmap was remembered",
            mapping.attached_then_unmap,
            guards.UNMAP_WAITS,
            "drop",
        )
        for step in _RECOVERY_STEPS[1:]
    ),
    done(BLOCKED, "attach_overlay", MAPPED, "the guest goes on", mapping.attached),
    done(BLOCKED, "attach_remote", REMOTE, "the guest goes on", mapping.attached),
    *(failed(BLOCKED, step, BLOCKED, "again after a pause", blocked.try_later) for step in _RECOVERY_STEPS),
)


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
    *_RECOVER,
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
