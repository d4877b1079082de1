"""Rows of a removal, its grace period, a restore, and the growth of a volume."""

from __future__ import annotations

from typing import Tuple

from rocks.storage.life import guards
from rocks.storage.life.events import Delete, GracePassed, Grow, Map, Restore, Undelete
from rocks.storage.life.states import DELETING, GROWING, RESTORING, UNMAPPED
from rocks.storage.life.table.rows import Entry, RejectionRow, Row, done, failed, retried
from rocks.storage.life.transitions import removal
from rocks.storage.life.transitions.record_changes import into

_OBSTACLES = (
    ("another volume has its name", removal.cannot_delete_other, guards.OTHER_VOLUME),
    ("others need it", removal.cannot_delete, guards.HAS_OBSTACLES),
)

DELETE_AND_RESTORE: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Delete,
        "Error deleting zvol {image.zvol}: changes that the NAS does not have are on {unreturned}; repeat with "
        "force=yes to lose them",
        guards.HAS_UNRETURNED,
    ),
    Row(
        UNMAPPED,
        Delete,
        DELETING,
        "check whether it may be destroyed",
        removal.begin_delete,
        starts="check",
    ),
    *(
        done(DELETING, "check", DELETING, f"{what}: it stays removed", change, guards.IN_GRACE & guard)
        for what, change, guard in _OBSTACLES
    ),
    *(done(DELETING, "check", UNMAPPED, what, change, guard) for what, change, guard in _OBSTACLES),
    done(DELETING, "check", None, "there was no volume", removal.forget, guards.NO_VOLUME),
    done(DELETING, "check", DELETING, "mark it on the volume", removal.begin_mark, starts="mark"),
    failed(DELETING, "check", DELETING, "it stays removed", removal.operation_failed, guards.IN_GRACE),
    failed(DELETING, "check", UNMAPPED, "nothing was changed", removal.operation_failed),
    done(DELETING, "mark", DELETING, "wait for the end of the grace period", removal.marked),
    Row(
        DELETING,
        Undelete,
        DELETING,
        "keep the volume",
        removal.begin_unmark,
        guards.NOTHING_OPEN,
        starts="unmark",
    ),
    done(DELETING, "unmark", UNMAPPED, "keep the volume", removal.operation_done),
    Row(
        DELETING,
        Delete,
        DELETING,
        "destroy it at once",
        removal.begin_delete,
        guards.NOTHING_OPEN & guards.AT_ONCE,
        starts="check",
    ),
    RejectionRow(
        DELETING,
        Map,
        "ZVol {image.zvol} was moved to {image.peer}: repeat rocks move host storageimg {image.nas} {image.zvol} "
        "to={image.peer}, which records that in the database",
        guards.IS_MOVED,
    ),
    RejectionRow(
        DELETING,
        Map,
        "ZVol {image.zvol} was removed and is in its grace period: restore it by rocks restore host storageimg "
        "{image.nas} {image.zvol}, or destroy it by rocks remove host storageimg {image.nas} {image.pool} "
        "{image.zvol} now=yes",
        guards.NOTHING_OPEN,
    ),
    Row(DELETING, GracePassed, DELETING, "destroy it", into(DELETING), guards.DUE, starts="destroy"),
    Row(DELETING, GracePassed, DELETING, "the rest is less", removal.count_grace, guards.NOTHING_OPEN),
    done(DELETING, "destroy", None, "the image no longer exists", removal.forget),
    *retried(DELETING, "mark", "unmark", "destroy"),
    Row(UNMAPPED, Restore, RESTORING, "safety snapshot first", removal.begin_restore, starts="restore"),
    done(
        RESTORING,
        "restore",
        RESTORING,
        "replace the volume by it",
        removal.begin_exchange,
        starts="exchange",
    ),
    failed(
        RESTORING,
        "restore",
        UNMAPPED,
        "nothing was changed",
        removal.operation_failed,
        guards.WRONG_REQUEST,
    ),
    done(RESTORING, "exchange", UNMAPPED, "the snapshot is the image", removal.restored),
    *retried(RESTORING, "restore", "exchange"),
)

GROWTH: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Grow,
        "ZVol {image.zvol} does not grow: changes that the NAS does not have are on {dirty}, of its present size; map "
        "it there and unmap it, or give them up by rocks clean host storagemap {image.nas} {image.zvol} force=yes "
        'reason="…"',
        guards.HAS_DIRTY,
    ),
    Row(UNMAPPED, Grow, GROWING, "set the size of the volume", removal.begin_growth, starts="grow"),
    done(GROWING, "grow", UNMAPPED, "the next map has the new size", removal.grown),
    failed(GROWING, "grow", UNMAPPED, "the volume is as it is; repeat the command", removal.operation_failed),
)
