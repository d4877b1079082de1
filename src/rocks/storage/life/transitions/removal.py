"""Transitions of a removal, of the end of its grace period, of a restore, and of the growth of a volume; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rocks.storage.life.image import Decision, Image
from rocks.storage.life.states import DELETING, GROWING, RESTORING
from rocks.storage.life.transitions.record_changes import enter, fresh, outcomes_of, unmapped


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
