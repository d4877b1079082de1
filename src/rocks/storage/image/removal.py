"""A removal, the end of its grace period, a restore, and the growth of a volume: rows and their changes; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Tuple

from rocks.storage.image import guards
from rocks.storage.image.events import Delete, GracePassed, Grow, Map, Restore, Undelete
from rocks.storage.image.image import Decision, Image
from rocks.storage.image.rows import (
    Entry,
    RejectionRow,
    Row,
    done,
    enter,
    failed,
    fresh,
    into,
    outcomes_of,
    retried,
    unmapped,
)
from rocks.storage.image.states import DELETING, GROWING, RESTORING, UNMAPPED


def begin_delete(image: Image, event: Any, now: int) -> Decision:
    """First check whether the volume may be destroyed; that of an image in its grace period may stay in it."""
    deleting = replace(fresh(enter(image, DELETING)), operation_id=event.op_id, reason=image.reason)
    if image.state == DELETING:
        return Decision(replace(deleting, at_once=True))
    due_at, grace_seconds = now + event.grace_seconds, event.grace_seconds
    return Decision(replace(deleting, due_at=due_at, grace_seconds=grace_seconds))


def cannot_delete(image: Image, event: Any, now: int) -> Decision:
    """Clones or foreign holds need the volume."""
    obstacles = ", ".join(event.facts.obstacles or ())
    text = f"Error deleting zvol {image.zvol}: others need it: {obstacles}; remove these first"
    return Decision(_as_before(image), outcomes_of((image.operation_id,), "state", text))


def cannot_delete_other(image: Image, event: Any, now: int) -> Decision:
    """Only the volume of the image's guid may be destroyed."""
    text = (
        f"Error deleting zvol {image.zvol}: another volume has the name {image.volume} (guid "
        f"{event.facts.volume_guid}, the image's was {image.volume_guid}); rename that one first"
    )
    return Decision(_as_before(image), outcomes_of((image.operation_id,), "incoherent", text))


def operation_failed(image: Image, event: Any, now: int) -> Decision:
    """Nothing was changed."""
    return Decision(_as_before(image), outcomes_of((image.operation_id,), event.family, event.message))


def _as_before(image: Image) -> Image:
    if not image.at_once:
        return unmapped(image)
    return replace(fresh(enter(image, DELETING)), operation_id="", at_once=False, reason=image.reason)


def begin_mark(image: Image, event: Any, now: int) -> Decision:
    """The volume is marked too."""
    marked = replace(fresh(enter(image, DELETING)), volume_guid=event.facts.volume_guid)
    return Decision(replace(marked, at_once=False, due_at=now, grace_seconds=0) if image.at_once else marked)


def marked(image: Image, event: Any, now: int) -> Decision:
    """The image waits for the end of the grace period."""
    waiting = replace(fresh(enter(image, DELETING)), operation_id="")
    return Decision(waiting, outcomes_of((image.operation_id,)))


def count_grace(image: Image, event: Any, now: int) -> Decision:
    """What the daemon has counted is not counted again after a restart."""
    return Decision(replace(image, grace_seconds=max(0, image.grace_seconds - event.seconds)))


def begin_unmark(image: Image, event: Any, now: int) -> Decision:
    """The image is not destroyed."""
    undeleted = replace(fresh(enter(image, DELETING)), operation_id=event.op_id, due_at=None)
    return Decision(undeleted)


def operation_done(image: Image, event: Any, now: int) -> Decision:
    """No host has the image."""
    return Decision(unmapped(image), outcomes_of((image.operation_id,)))


def forget(image: Image, event: Any, now: int) -> Decision:
    """The image no longer exists."""
    return Decision(None, outcomes_of((image.operation_id,)))


def begin_restore(image: Image, event: Any, now: int) -> Decision:
    """A new epoch: hosts compare their copies by guid at the next map."""
    restoring = replace(fresh(enter(image, RESTORING)), epoch=image.epoch + 1, operation_id=event.op_id)
    restoring = replace(restoring, pending_name=event.snapshot_name, final_guid=event.snapshot_guid)
    return Decision(restoring)


def begin_exchange(image: Image, event: Any, now: int) -> Decision:
    """The snapshot is a clone beside the volume."""
    exchanging = replace(
        fresh(enter(image, RESTORING)), volume_guid=image.volume_guid or event.facts.volume_guid
    )
    return Decision(exchanging)


def restored(image: Image, event: Any, now: int) -> Decision:
    """The restored snapshot is the base, in a volume of another guid."""
    based = replace(
        image,
        base_name=image.pending_name,
        base_guid=image.final_guid,
        volume_guid=event.facts.volume_guid or image.volume_guid,
    )
    return Decision(unmapped(based), outcomes_of((image.operation_id,)))


def begin_growth(image: Image, event: Any, now: int) -> Decision:
    """No host gets the image before the volume has its size."""
    return Decision(replace(fresh(enter(image, GROWING)), operation_id=event.op_id))


def grown(image: Image, event: Any, now: int) -> Decision:
    """The size is that of the volume. Copies on hosts are smaller: the next map finds that by their size."""
    sized = replace(
        image,
        size_bytes=event.facts.size_bytes or image.size_bytes,
        volume_guid=image.volume_guid or event.facts.volume_guid,
    )
    return Decision(unmapped(sized), outcomes_of((image.operation_id,)))


# --- rows ------------------------------------------------------------------------------------------------------------


_OBSTACLES = (
    ("another volume has its name", cannot_delete_other, guards.OTHER_VOLUME),
    ("others need it", cannot_delete, guards.HAS_OBSTACLES),
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
        begin_delete,
        starts="check",
    ),
    *(
        done(DELETING, "check", DELETING, f"{what}: it stays removed", change, guards.IN_GRACE & guard)
        for what, change, guard in _OBSTACLES
    ),
    *(done(DELETING, "check", UNMAPPED, what, change, guard) for what, change, guard in _OBSTACLES),
    done(DELETING, "check", None, "there was no volume", forget, guards.NO_VOLUME),
    done(DELETING, "check", DELETING, "mark it on the volume", begin_mark, starts="mark"),
    failed(DELETING, "check", DELETING, "it stays removed", operation_failed, guards.IN_GRACE),
    failed(DELETING, "check", UNMAPPED, "nothing was changed", operation_failed),
    done(DELETING, "mark", DELETING, "wait for the end of the grace period", marked),
    Row(
        DELETING,
        Undelete,
        DELETING,
        "keep the volume",
        begin_unmark,
        guards.NOTHING_OPEN,
        starts="unmark",
    ),
    done(DELETING, "unmark", UNMAPPED, "keep the volume", operation_done),
    Row(
        DELETING,
        Delete,
        DELETING,
        "destroy it at once",
        begin_delete,
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
    Row(DELETING, GracePassed, DELETING, "the rest is less", count_grace, guards.NOTHING_OPEN),
    done(DELETING, "destroy", None, "the image no longer exists", forget),
    *retried(DELETING, "mark", "unmark", "destroy"),
    Row(UNMAPPED, Restore, RESTORING, "safety snapshot first", begin_restore, starts="restore"),
    done(
        RESTORING,
        "restore",
        RESTORING,
        "replace the volume by it",
        begin_exchange,
        starts="exchange",
    ),
    failed(
        RESTORING,
        "restore",
        UNMAPPED,
        "nothing was changed",
        operation_failed,
        guards.WRONG_REQUEST,
    ),
    done(RESTORING, "exchange", UNMAPPED, "the snapshot is the image", restored),
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
    Row(UNMAPPED, Grow, GROWING, "set the size of the volume", begin_growth, starts="grow"),
    done(GROWING, "grow", UNMAPPED, "the next map has the new size", grown),
    failed(GROWING, "grow", UNMAPPED, "the volume is as it is; repeat the command", operation_failed),
)
