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
    measured,
    operation_done,
    operation_failed,
    outcomes_of,
    retried,
    stays,
    unmapped,
)
from rocks.storage.image.states import DELETING, GROWING, RESTORING, UNMAPPED


def begin_delete(image: Image, event: Any, now: int) -> Image:
    """First check whether the volume may be destroyed."""
    due_at = now + event.grace_seconds
    return replace(image, operation_id=event.op_id, due_at=due_at, grace_seconds=event.grace_seconds)


def begin_destroy(image: Image, event: Any, now: int) -> Image:
    """Begin to destroy an image in its grace period, which may stay in it."""
    return replace(image, operation_id=event.op_id, at_once=True)


def cannot_delete(image: Image, event: Any, now: int) -> Decision:
    """Clones or foreign holds need the volume."""
    obstacles = ", ".join(event.facts.obstacles or ())
    text = f"Error deleting zvol {image.zvol}: others need it: {obstacles}; remove these first"
    return _not_deleted(image, "state", text)


def cannot_delete_other(image: Image, event: Any, now: int) -> Decision:
    """Only the volume of the image's guid may be destroyed."""
    text = (
        f"Error deleting zvol {image.zvol}: another volume has the name {image.volume} (guid "
        f"{event.facts.volume_guid}, the image's was {image.volume_guid}); rename that one first"
    )
    return _not_deleted(image, "incoherent", text)


def delete_failed(image: Image, event: Any, now: int) -> Decision:
    """Nothing was changed."""
    return _not_deleted(image, event.family, event.message)


def _not_deleted(image: Image, family: str, text: str) -> Decision:
    """The image is as before: unmapped, or in its grace period."""
    stays = replace(image, operation_id="", at_once=False) if image.at_once else unmapped(image)
    return Decision(stays, outcomes_of((image.operation_id,), family, text))


def begin_mark(image: Image, event: Any, now: int) -> Image:
    """The volume is marked too."""
    marked = replace(image, volume_guid=event.facts.volume_guid)
    return replace(marked, at_once=False, due_at=now, grace_seconds=0) if image.at_once else marked


def marked(image: Image, event: Any, now: int) -> Decision:
    """The image waits for the end of the grace period."""
    return Decision(replace(image, operation_id=""), outcomes_of((image.operation_id,)))


def count_grace(image: Image, event: Any, now: int) -> Image:
    """What the daemon has counted is not counted again after a restart."""
    return replace(image, grace_seconds=max(0, image.grace_seconds - event.seconds))


def begin_unmark(image: Image, event: Any, now: int) -> Image:
    """The image is not destroyed."""
    return replace(image, operation_id=event.op_id, due_at=None)


def begin_restore(image: Image, event: Any, now: int) -> Image:
    """A new epoch: hosts compare their copies by guid at the next map."""
    return replace(
        image,
        epoch=image.epoch + 1,
        operation_id=event.op_id,
        pending_name=event.snapshot_name,
        final_guid=event.snapshot_guid,
    )


def begin_exchange(image: Image, event: Any, now: int) -> Image:
    """The snapshot is a clone beside the volume."""
    return replace(image, volume_guid=image.volume_guid or event.facts.volume_guid)


def restored(image: Image, event: Any, now: int) -> Decision:
    """The restored snapshot is the base, in a volume of another guid."""
    guid = event.facts.volume_guid or image.volume_guid
    based = replace(image, base_name=image.pending_name, base_guid=image.final_guid, volume_guid=guid)
    return operation_done(based, event, now)


def begin_growth(image: Image, event: Any, now: int) -> Image:
    """No host gets the image before the volume has its size."""
    return replace(image, operation_id=event.op_id)


def grown(image: Image, event: Any, now: int) -> Decision:
    """The size is that of the volume. Copies on hosts are smaller: the next map finds that by their size."""
    return operation_done(measured(image, event, now), event, now)


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
    Row(UNMAPPED, Delete, DELETING, "check whether it may be destroyed", begin_delete, starts="check"),
    *(
        done(
            DELETING,
            "check",
            DELETING,
            f"{what}: it stays removed",
            change,
            guards.IN_GRACE & guard,
            enter=enter,
        )
        for what, change, guard in _OBSTACLES
    ),
    *(done(DELETING, "check", UNMAPPED, what, change, guard) for what, change, guard in _OBSTACLES),
    done(DELETING, "check", None, "there was no volume", operation_done, guards.NO_VOLUME),
    done(DELETING, "check", DELETING, "mark it on the volume", begin_mark, starts="mark"),
    failed(DELETING, "check", DELETING, "it stays removed", delete_failed, guards.IN_GRACE, enter=enter),
    failed(DELETING, "check", UNMAPPED, "nothing was changed", operation_failed),
    done(DELETING, "mark", DELETING, "wait for the end of the grace period", marked),
    Row(DELETING, Undelete, DELETING, "keep the volume", begin_unmark, guards.NOTHING_OPEN, starts="unmark"),
    done(DELETING, "unmark", UNMAPPED, "keep the volume", operation_done),
    Row(
        DELETING,
        Delete,
        DELETING,
        "destroy it at once",
        begin_destroy,
        guards.NOTHING_OPEN & guards.AT_ONCE,
        starts="check",
        enter=enter,
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
    Row(DELETING, GracePassed, DELETING, "destroy it", guard=guards.DUE, starts="destroy"),
    stays(DELETING, GracePassed, "the rest is less", count_grace, guards.NOTHING_OPEN),
    done(DELETING, "destroy", None, "the image no longer exists", operation_done),
    *retried(DELETING, "mark", "unmark", "destroy"),
    Row(UNMAPPED, Restore, RESTORING, "safety snapshot first", begin_restore, starts="restore"),
    done(RESTORING, "restore", RESTORING, "replace the volume by it", begin_exchange, starts="exchange"),
    failed(RESTORING, "restore", UNMAPPED, "nothing was changed", operation_failed, guards.WRONG_REQUEST),
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
