"""Rows of a move to another NAS."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Cancel, Move
from rocks.storage.life.states import DELETING, MOVING, UNMAPPED
from rocks.storage.life.table.rows import Entry, RejectionRow, Row, done, failed, retried
from rocks.storage.life.transitions import blocked, moves

MOVE: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Move,
        "ZVol {image.zvol} cannot be moved: changes that the NAS does not have are on {dirty}; map it there and unmap "
        "it, or give them up by rocks clean host storagemap {image.nas} {image.zvol} force=yes "
        'reason="…"',
        guards.HAS_DIRTY,
    ),
    Row(UNMAPPED, Move, MOVING, "check whether others need it", moves.begin_move, starts="check"),
    RejectionRow(
        MOVING,
        Move,
        "ZVol {image.zvol} is being moved to {image.peer} already; rocks cancel host storagemap {image.nas} "
        "{image.zvol} cancels that",
        guards.TO_ANOTHER,
    ),
    Row(MOVING, Move, MOVING, "wait for the same move", moves.join_move),
    Row(DELETING, Move, DELETING, "it was moved there", moves.already_moved, guards.IS_MOVED_THERE),
    done(MOVING, "check", UNMAPPED, "no content", moves.cannot_move_nothing, guards.NO_VOLUME),
    done(
        MOVING,
        "check",
        UNMAPPED,
        "another volume has its name",
        moves.cannot_move_other,
        guards.OTHER_VOLUME,
    ),
    done(MOVING, "check", UNMAPPED, "others need it", moves.cannot_move, guards.HAS_OBSTACLES),
    done(MOVING, "check", MOVING, "send all snapshots", moves.begin_send, starts="send"),
    failed(MOVING, "check", UNMAPPED, "nothing was changed", moves.move_failed),
    done(
        MOVING,
        "send",
        MOVING,
        "the content is the same there",
        moves.begin_hand_over,
        starts="hand_over",
    ),
    failed(MOVING, "send", UNMAPPED, "it stays here", moves.move_failed, guards.WRONG_REQUEST),
    failed(MOVING, "send", UNMAPPED, "it stays here", moves.move_failed, guards.NO_MORE_TRIES),
    failed(MOVING, "send", MOVING, "again after a pause", blocked.try_later),
    done(
        MOVING,
        "hand_over",
        DELETING,
        "the other NAS has it: mark the volume here",
        moves.moved,
        starts="mark",
    ),
    *retried(MOVING, "hand_over"),
    RejectionRow(
        MOVING,
        Cancel,
        "ZVol {image.zvol} is being handed over to {image.peer}, which may have it already: it is not cancelled, "
        "and is completed as soon as {image.peer} answers",
        guards.HANDING_OVER,
        "busy",
    ),
    Row(MOVING, Cancel, UNMAPPED, "it stays here", moves.cancel_move),
)
