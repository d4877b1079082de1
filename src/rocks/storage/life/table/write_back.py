"""Rows of a pull and of an unmap."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Cancel, PullNow, StartPull, Unmap
from rocks.storage.life.states import (
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
)
from rocks.storage.life.table.rows import Entry, RejectionRow, Row, done, failed, retried, then_unmap
from rocks.storage.life.transitions import blocked, write_back
from rocks.storage.life.transitions.record_changes import into

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
        write_back.begin_pull,
        guards.NO_PAUSE,
        starts="pull",
    ),
    done(PULLING, "pull", PULLING, "verify it on the NAS", write_back.begin_accept, starts="accept"),
    done(PULLING, "accept", PULLING, "it is the new base", write_back.begin_settle, starts="settle"),
    then_unmap(done, PULLING, "settle", "an unmap waits: it makes its own final snapshot"),
    done(PULLING, "settle", LOCAL, "both sides have the snapshot", into(LOCAL)),
    then_unmap(failed, PULLING, "settle", "the final return settles it"),
    failed(PULLING, "settle", LOCAL, "the next pull settles it", into(LOCAL)),
    failed(PULLING, "pull", BLOCKED, "needs operator action", blocked.block, guards.NO_MORE_TRIES),
    then_unmap(failed, PULLING, "pull", "the final return includes it"),
    failed(PULLING, "pull", LOCAL, "go on after a pause", write_back.pull_failed),
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
            Row(state, PullNow, state, "answered when a pull has ended", write_back.note_pull),
        )
    ),
)


RETURN: Tuple[Entry, ...] = (
    Row(MAPPED, Unmap, MAPPED, "waits for the copy", write_back.wait_to_unmap, guards.UNMAP_WAITS),
    Row(SEEDING, Unmap, SEEDING, "waits for the copy", write_back.wait_to_unmap, guards.UNMAP_WAITS),
    *(
        Row(state, Unmap, RETURNING, "try without the copy", write_back.begin_unmap, starts="drop")
        for state in (MAPPED, SEEDING)
    ),
    Row(REMOTE, Unmap, RETURNING, "log out", write_back.begin_unmap, starts="drop"),
    Row(LOCAL, Unmap, RETURNING, "remove the device", write_back.begin_unmap, starts="detach"),
    *(
        Row(state, Unmap, state, "waits for the present step", write_back.wait_to_unmap)
        for state in (MAPPING, SWITCHING, PULLING, RETURNING)
    ),
    *(
        Row(state, Cancel, state, "cancel the unmap", write_back.cancel_unmap, guards.UNMAP_WAITS)
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
    done(RETURNING, "drop", RETURNING, "drop the export", write_back.begin_leave, starts="leave"),
    failed(
        RETURNING,
        "drop",
        REMOTE,
        "a guest uses it: no unmap",
        write_back.abort_unmap,
        guards.IN_USE & guards.WITHOUT_COPY,
    ),
    failed(RETURNING, "drop", MAPPED, "a guest uses it: no unmap", write_back.abort_unmap, guards.IN_USE),
    failed(RETURNING, "detach", LOCAL, "a guest uses it: no unmap", write_back.abort_unmap, guards.IN_USE),
    done(
        RETURNING,
        "detach",
        RETURNING,
        "back to the base",
        into(RETURNING),
        guards.NOT_PERSISTENT,
        "discard",
    ),
    done(RETURNING, "detach", RETURNING, "final snapshot, send", write_back.begin_return, starts="return"),
    done(RETURNING, "return", RETURNING, "verify it on the NAS", write_back.begin_confirm, starts="confirm"),
    done(RETURNING, "confirm", UNMAPPED, "the image is written back", write_back.written_back),
    done(RETURNING, "discard", RETURNING, "end the grant", write_back.begin_leave, starts="leave"),
    done(RETURNING, "leave", UNMAPPED, "no host has it", write_back.has_left),
    *retried(RETURNING, "drop", "detach", "return", "discard", "confirm", "leave"),
)
