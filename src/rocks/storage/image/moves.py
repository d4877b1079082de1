"""A move to another NAS: the rows of the table and their changes; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Tuple

from rocks.storage.image import guards, names
from rocks.storage.image.events import Cancel, Move
from rocks.storage.image.image import Decision, Image
from rocks.storage.image.rows import (
    Entry,
    RejectionRow,
    Row,
    abandon,
    answer,
    done,
    failed,
    outcomes_of,
    retried,
    retried_row,
    stays,
    unmapped,
    with_operation,
)
from rocks.storage.image.states import DELETING, MOVING, UNMAPPED


def begin_move(image: Image, event: Any, now: int) -> Image:
    """A new epoch: the other NAS recognises by it what belongs to this attempt."""
    return replace(
        image,
        epoch=image.epoch + 1,
        peer=event.nas,
        peer_pool=event.pool,
        grace_seconds=event.grace_seconds,
        move_ids=(event.op_id,),
    )


def join_move(image: Image, event: Any, now: int) -> Image:
    """One more command waits for the same move, and its pause is over."""
    retry_at = None if image.retry_at is None else min(image.retry_at, now)
    ids = with_operation(image.move_ids, event.op_id)
    return replace(image, move_ids=ids, grace_seconds=event.grace_seconds, retry_at=retry_at)


def begin_send(image: Image, event: Any, now: int) -> Image:
    """All snapshots are sent, and the content is compared."""
    return replace(image, volume_guid=image.volume_guid or event.facts.volume_guid)


def begin_hand_over(image: Image, event: Any, now: int) -> Image:
    """From here on the other NAS may have the image: the move cannot be cancelled any more."""
    return replace(
        image,
        base_name=event.facts.base_name or image.base_name,
        base_guid=event.facts.base_guid or image.base_guid,
        final_guid=event.facts.guid or event.facts.base_guid,
    )


def moved(image: Image, event: Any, now: int) -> Decision:
    """The other NAS has the image; its former volume is an image of its own, which waits for its destruction."""
    left = replace(
        image,
        image_id=names.left_image_id(image.image_id, image.nas, image.epoch),
        copies=(),
        move_ids=(),
        due_at=now + image.grace_seconds,
    )
    return Decision(left, outcomes_of(image.move_ids))


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


def move_failed(image: Image, event: Any, now: int) -> Decision:
    """The other NAS has not got the image: it stays here."""
    return _not_moved(image, event.family, event.message)


def cancel_move(image: Image, event: Any, now: int) -> Decision:
    """The image stays here."""
    stopped = _not_moved(image, "state", "it was cancelled by a command")
    return replace(stopped, outcomes=(*stopped.outcomes, *outcomes_of((event.op_id,))))


def _not_moved(image: Image, family: str, reason: str) -> Decision:
    text = f"ZVol {image.zvol} was not moved to {image.peer} and stays on {image.nas}: {reason}"
    return Decision(unmapped(image), outcomes_of(image.move_ids, family, text))


def abandon_move(image: Image, event: Any, now: int) -> Decision:
    """The other NAS is lost, perhaps while it took the image over: the image is this NAS's again."""
    text = f"the move of ZVol {image.zvol} to {image.peer} was given up: {event.reason}"
    begun = abandon(replace(image, move_ids=()), event, now)
    return replace(begun, outcomes=outcomes_of(image.move_ids, "host", text))


# --- rows ------------------------------------------------------------------------------------------------------------


MOVE: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Move,
        "ZVol {image.zvol} cannot be moved: changes that the NAS does not have are on {dirty}; map it there and unmap "
        "it, or give them up by rocks clean host storagemap {image.nas} {image.zvol} force=yes "
        'reason="…"',
        guards.HAS_DIRTY,
    ),
    Row(UNMAPPED, Move, MOVING, "check whether others need it", begin_move, starts="check"),
    RejectionRow(
        MOVING,
        Move,
        "ZVol {image.zvol} is being moved to {image.peer} already; rocks cancel host storagemap {image.nas} "
        "{image.zvol} cancels that",
        guards.TO_ANOTHER,
    ),
    stays(MOVING, Move, "wait for the same move", join_move),
    stays(DELETING, Move, "it was moved there", answer, guards.IS_MOVED_THERE),
    done(MOVING, "check", UNMAPPED, "no content", cannot_move_nothing, guards.NO_VOLUME),
    done(MOVING, "check", UNMAPPED, "another volume has its name", cannot_move_other, guards.OTHER_VOLUME),
    done(MOVING, "check", UNMAPPED, "others need it", cannot_move, guards.HAS_OBSTACLES),
    done(MOVING, "check", MOVING, "send all snapshots", begin_send, starts="send"),
    failed(MOVING, "check", UNMAPPED, "nothing was changed", move_failed),
    done(MOVING, "send", MOVING, "the content is the same there", begin_hand_over, starts="hand_over"),
    failed(MOVING, "send", UNMAPPED, "it stays here", move_failed, guards.WRONG_REQUEST),
    failed(MOVING, "send", UNMAPPED, "it stays here", move_failed, guards.NO_MORE_TRIES),
    retried_row(MOVING, "send"),
    done(MOVING, "hand_over", DELETING, "the other NAS has it: mark the volume here", moved, starts="mark"),
    *retried(MOVING, "hand_over"),
    RejectionRow(
        MOVING,
        Cancel,
        "ZVol {image.zvol} is being handed over to {image.peer}, which may have it already: it is not cancelled, "
        "and is completed as soon as {image.peer} answers",
        guards.HANDING_OVER,
        "busy",
    ),
    Row(MOVING, Cancel, UNMAPPED, "it stays here", cancel_move),
)
