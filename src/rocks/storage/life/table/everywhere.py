"""Rows of events that count in every state."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Configure, CopyFound, Map, Restarted, RetryDue
from rocks.storage.life.states import (
    BLOCKED,
    DELETING,
    GUEST_MAY_RUN,
    LOCAL,
    MAPPED,
    MAPPING,
    MOVING,
    PULLING,
    REMOTE,
    RESTORING,
    RETURNING,
    STATES,
    SWITCHING,
)
from rocks.storage.life.table.rows import Entry, RejectionRow, Row
from rocks.storage.life.transitions import blocked, everywhere, mapping

EVERYWHERE: Tuple[Entry, ...] = (
    *(
        Row(
            state,
            Map,
            state,
            "already mapped: answer with the device",
            mapping.already_mapped,
            guards.SAME_HOST,
        )
        for state in GUEST_MAY_RUN
    ),
    *(
        Row(
            state,
            RetryDue,
            state,
            "repeat the step under a new number",
            blocked.try_again,
            guards.PAUSE_OVER,
        )
        for state in (MAPPING, SWITCHING, PULLING, RETURNING, DELETING, RESTORING, MOVING, BLOCKED)
    ),
    *(
        Row(
            state,
            RetryDue,
            state,
            "the next free slot counts",
            blocked.pause_over,
            guards.PAUSE_OVER,
        )
        for state in (MAPPED, LOCAL)
    ),
    *(Row(state, Restarted, state, STATES[state].restart, everywhere.stay) for state in STATES),
    RejectionRow(
        REMOTE,
        Configure,
        "ZVol {image.zvol} is mapped without a copy (img_sync no): writes go to the NAS at once and cannot be "
        "discarded; unmap it first",
        guards.NOT_TO_PERSIST,
    ),
    *(Row(state, Configure, state, "effective at the next unmap", everywhere.configure) for state in STATES),
    *(Row(state, CopyFound, state, "record it", everywhere.note_copy) for state in STATES),
)
