"""Transitions of a move to another NAS; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rocks.storage.life import names
from rocks.storage.life.image import Decision, Image
from rocks.storage.life.states import DELETING, MOVING
from rocks.storage.life.transitions.blocked import begin_abandon
from rocks.storage.life.transitions.record_changes import enter, fresh, outcomes_of, unmapped, with_operation


def begin_move(image: Image, event: Any, now: int) -> Decision:
    """A new epoch: the other NAS recognises by it what belongs to this attempt."""
    moving = replace(
        fresh(enter(image, MOVING)),
        epoch=image.epoch + 1,
        peer=event.nas,
        peer_pool=event.pool,
        grace_seconds=event.grace_seconds,
        move_ids=(event.op_id,),
    )
    return Decision(moving)


def join_move(image: Image, event: Any, now: int) -> Decision:
    """One more command waits for the same move, and its pause is over."""
    retry_at = None if image.retry_at is None else min(image.retry_at, now)
    ids = with_operation(image.move_ids, event.op_id)
    return Decision(replace(image, move_ids=ids, grace_seconds=event.grace_seconds, retry_at=retry_at))


def cannot_move(image: Image, event: Any, now: int) -> Decision:
    """Clones or foreign holds need the volume."""
    obstacles = ", ".join(event.facts.obstacles or ())
    return _not_moved(image, "state", f"others need it: {obstacles}; remove these first")


def cannot_move_other(image: Image, event: Any, now: int) -> Decision:
    """Only the volume of the image's guid is sent."""
    reason = (
        f"another volume has the name {image.volume} (guid {event.facts.volume_guid}); rename that one first"
    )
    return _not_moved(image, "incoherent", reason)


def cannot_move_nothing(image: Image, event: Any, now: int) -> Decision:
    """An image without a volume has no content."""
    return _not_moved(image, "state", f"the volume {image.volume} does not exist")


def begin_send(image: Image, event: Any, now: int) -> Decision:
    """All snapshots are sent, and the content is compared."""
    volume_guid = image.volume_guid or event.facts.volume_guid
    return Decision(replace(fresh(enter(image, MOVING)), volume_guid=volume_guid))


def begin_hand_over(image: Image, event: Any, now: int) -> Decision:
    """From here on the other NAS may have the image: the move cannot be cancelled any more."""
    sent = replace(
        fresh(enter(image, MOVING)),
        base_name=event.facts.base_name or image.base_name,
        base_guid=event.facts.base_guid or image.base_guid,
        final_guid=event.facts.guid or event.facts.base_guid,
    )
    return Decision(sent)


def move_failed(image: Image, event: Any, now: int) -> Decision:
    """The other NAS has not got the image: it stays here."""
    return _not_moved(image, event.family, event.message)


def cancel_move(image: Image, event: Any, now: int) -> Decision:
    """The image stays here."""
    stopped = _not_moved(image, "state", "it was cancelled by a command")
    return replace(stopped, outcomes=(*stopped.outcomes, *outcomes_of((event.op_id,))))


def abandon_move(image: Image, event: Any, now: int) -> Decision:
    """The other NAS is lost, perhaps while it took the image over: the image is this NAS's again."""
    text = f"the move of ZVol {image.zvol} to {image.peer} was given up: {event.reason}"
    begun = begin_abandon(replace(image, move_ids=()), event, now)
    return replace(begun, outcomes=outcomes_of(image.move_ids, "host", text))


def resume_move(image: Image, event: Any, now: int) -> Decision:
    """Send again: a NAS that has taken the image over reports that, and one that has it receives nothing twice."""
    return Decision(fresh(enter(image, MOVING)), outcomes_of((event.op_id,)))


def moved(image: Image, event: Any, now: int) -> Decision:
    """The other NAS has the image; its former volume is an image of its own, which waits for its destruction."""
    left = replace(
        fresh(enter(image, DELETING)),
        image_id=names.left_image_id(image.image_id, image.nas, image.epoch),
        copies=(),
        move_ids=(),
        due_at=now + image.grace_seconds,
    )
    return Decision(left, outcomes_of(image.move_ids))


def already_moved(image: Image, event: Any, now: int) -> Decision:
    """The command is repeated."""
    return Decision(image, outcomes_of((event.op_id,)))


def _not_moved(image: Image, family: str, reason: str) -> Decision:
    text = f"ZVol {image.zvol} was not moved to {image.peer} and stays on {image.nas}: {reason}"
    return Decision(unmapped(image), outcomes_of(image.move_ids, family, text))
