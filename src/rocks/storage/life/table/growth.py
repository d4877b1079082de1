"""Rows of the growth of an image's volume."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Grow
from rocks.storage.life.states import GROWING, UNMAPPED
from rocks.storage.life.table.rows import Entry, RejectionRow, Row, done, failed
from rocks.storage.life.transitions import growth, removal

GROWTH: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Grow,
        "ZVol {image.zvol} does not grow: changes that the NAS does not have are on {dirty}, of its present size; map "
        "it there and unmap it, or give them up by rocks clean host storagemap {image.nas} {image.zvol} force=yes "
        'reason="…"',
        guards.HAS_DIRTY,
    ),
    Row(UNMAPPED, Grow, GROWING, "set the size of the volume", growth.begin_growth, starts="grow"),
    done(GROWING, "grow", UNMAPPED, "the next map has the new size", growth.grown),
    failed(GROWING, "grow", UNMAPPED, "the volume is as it is; repeat the command", removal.operation_failed),
)
