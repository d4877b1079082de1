"""Rows of lost records: an image is recovered from what its volume and its host report."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Retry
from rocks.storage.life.facts import Stage
from rocks.storage.life.guards import Guard
from rocks.storage.life.image import Step
from rocks.storage.life.states import (
    BLOCKED,
    DELETING,
    MAPPED,
    REMOTE,
    RETURNING,
    SWITCHING,
    State,
)
from rocks.storage.life.table.rows import Change, Entry, Row, done, failed
from rocks.storage.life.transitions import blocked, lost_records, mapping

_WITH_A_COPY: Tuple[Stage, ...] = ("merging", "linear")
RECOVERY_STEPS: Tuple[Step, ...] = ("look", "attach_overlay", "attach_remote")

_MERGING = guards.found_stage("merging") & guards.HAS_BASE
_OVERLAY = guards.found_stage("overlay") & guards.HAS_BASE
_REMOTE = guards.found_stage("remote") & guards.HAS_INITIATOR
_UNWANTED = guards.FOUND_COPY & guards.HAS_BASE & guards.TO_DISCARD


def _found(to: State, sentence: str, change: Change, guard: Guard, starts: Step) -> Row:
    """What follows from what the host has."""
    return done(BLOCKED, "look", to, sentence, change, guard, starts)


RECOVER: Tuple[Entry, ...] = (
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
    _found(SWITCHING, "it may still read from the NAS", lost_records.found_merging, _MERGING, "switch"),
    *(
        _found(SWITCHING, "drop the export, merge what is left", lost_records.found_merging, guard, "merge")
        for guard in map(guards.found_stage, _WITH_A_COPY)
    ),
    _found(BLOCKED, "restore the export", lost_records.found_disk, _OVERLAY, "attach_overlay"),
    _found(BLOCKED, "restore the export", lost_records.found_disk, _REMOTE, "attach_remote"),
    _found(RETURNING, "end the grant", lost_records.found_nothing, guards.FOUND_NOTHING, "leave"),
    _found(RETURNING, "back to the base", lost_records.found_unwanted_changes, _UNWANTED, "discard"),
    _found(RETURNING, "final snapshot, send", lost_records.found_changes, guards.FOUND_COPY, "return"),
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
        for step in RECOVERY_STEPS[1:]
    ),
    done(BLOCKED, "attach_overlay", MAPPED, "the guest goes on", mapping.attached),
    done(BLOCKED, "attach_remote", REMOTE, "the guest goes on", mapping.attached),
    *(failed(BLOCKED, step, BLOCKED, "again after a pause", blocked.try_later) for step in RECOVERY_STEPS),
)
