"""Rows of a map, and until the image is local on its host."""

from __future__ import annotations

from typing import Optional, Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Cancel, Map, StartSeed
from rocks.storage.life.guards import Guard
from rocks.storage.life.image import Step
from rocks.storage.life.states import (
    BLOCKED,
    LOCAL,
    MAPPED,
    MAPPING,
    REMOTE,
    RETURNING,
    SEEDING,
    SWITCHING,
    UNMAPPED,
    State,
)
from rocks.storage.life.table.rows import Change, Entry, RejectionRow, Row, done, failed, retried, then_unmap
from rocks.storage.life.transitions import blocked, mapping
from rocks.storage.life.transitions.record_changes import into


def _prepared(sentence: str, change: Change, guard: Optional[Guard], starts: Step) -> Row:
    """What follows when the NAS's volume and the host's copy are known."""
    return done(MAPPING, "prepare", MAPPING, sentence, change, guard, starts)


def _attached(step: Step, state: State, back: Step) -> Tuple[Row, ...]:
    """The ends of a step that gives the host a device; `back` takes the device away."""
    return (
        done(
            MAPPING,
            step,
            RETURNING,
            "unmap at once",
            mapping.attached_then_unmap,
            guards.UNMAP_WAITS,
            back,
        ),
        done(MAPPING, step, state, "the guest may run", mapping.attached),
        failed(MAPPING, step, MAPPING, "undo it on the host", mapping.stop_map, starts="undo"),
    )


_ATTACHING: Tuple[Tuple[Step, State, Step], ...] = (
    ("attach_overlay", MAPPED, "drop"),
    ("attach_linear", LOCAL, "detach"),
    ("attach_remote", REMOTE, "drop"),
)


MAP: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not persistent, and without a copy (img_sync no) writes go to the NAS at once; "
        "set img_sync yes for {event.host}, or run rocks set host zvolattr {image.nas} {image.zvol} persistent yes",
        guards.NOT_PERSISTENT_ON_NAS,
        "user",
    ),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped: the lease {event.lease_token} of its virtual machine is older than its last "
        "lease {image.lease_token}",
        guards.OLD_LEASE,
    ),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped to {event.host}: changes that the NAS does not have are on "
        "{dirty_pools}; map it there with a copy (img_sync yes), or give them up with rocks clean host storagemap",
        guards.DIRTY_ELSEWHERE,
    ),
    Row(UNMAPPED, Map, MAPPING, "grant a new epoch", mapping.begin_map, starts="prepare"),
    _prepared("revoke the grant", mapping.would_lose_changes, guards.WOULD_LOSE_CHANGES, "leave"),
    _prepared("revoke the grant", mapping.no_free_space, guards.NO_FREE_SPACE, "leave"),
    _prepared("export it writable", mapping.attach_export, guards.WITHOUT_COPY, "attach_remote"),
    _prepared("no export, no transfer", mapping.attach_linear, guards.COPY_AT_BASE, "attach_linear"),
    _prepared("export it read only", mapping.attach_export, None, "attach_overlay"),
    *(row for ending in _ATTACHING for row in _attached(*ending)),
    failed(
        MAPPING,
        "prepare",
        BLOCKED,
        "another grant is on the volume",
        blocked.block,
        guards.GRANT_REFUSED,
    ),
    failed(MAPPING, "prepare", MAPPING, "revoke the grant", mapping.stop_map, starts="leave"),
    done(
        MAPPING,
        "undo",
        BLOCKED,
        "needs operator action",
        blocked.block_unexpected_changes,
        guards.HAS_CHANGES,
    ),
    done(MAPPING, "undo", MAPPING, "revoke the grant", mapping.undone, starts="leave"),
    done(MAPPING, "leave", UNMAPPED, "the map has failed", mapping.map_failed),
    failed(MAPPING, "undo", BLOCKED, "needs operator action", blocked.block, guards.NO_MORE_TRIES),
    failed(MAPPING, "undo", MAPPING, "again after a pause", blocked.publish_and_try_later),
    failed(MAPPING, "leave", BLOCKED, "needs operator action", blocked.block, guards.NO_MORE_TRIES),
    failed(MAPPING, "leave", MAPPING, "again after a pause", blocked.publish_and_try_later),
    RejectionRow(MAPPING, Cancel, "ZVol {image.zvol}: the mapping is already being undone", guards.UNDOING),
    Row(MAPPING, Cancel, MAPPING, "undo it on the host", mapping.cancel_map, starts="undo"),
)


LOCALISE: Tuple[Entry, ...] = (
    Row(MAPPED, StartSeed, SEEDING, "copy it", mapping.begin_seed, guards.NO_PAUSE, starts="seed"),
    done(
        SEEDING,
        "seed",
        SWITCHING,
        "switch the guest to the copy",
        mapping.begin_switch,
        guards.IS_BASE,
        "switch",
    ),
    done(SEEDING, "seed", BLOCKED, "the received snapshot is another one", blocked.block_other_guid),
    failed(SEEDING, "seed", BLOCKED, "needs operator action", blocked.block, guards.NO_MORE_TRIES),
    failed(SEEDING, "seed", MAPPED, "go on after a pause", mapping.seed_failed),
    done(SWITCHING, "switch", SWITCHING, "drop the export, merge", into(SWITCHING), starts="merge"),
    then_unmap(done, SWITCHING, "merge", "an unmap waits for this"),
    done(SWITCHING, "merge", LOCAL, "the image is independent of the NAS", into(LOCAL)),
    *retried(SWITCHING, "switch", "merge"),
)
