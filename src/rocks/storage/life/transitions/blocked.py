"""Transitions after failures: try again, block, go on, abandon; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rocks.storage.life import guards
from rocks.storage.life.effects import Grant
from rocks.storage.life.events import Contradicted
from rocks.storage.life.grants import is_recovering
from rocks.storage.life.image import Decision, Image, Witness
from rocks.storage.life.states import BLOCKED, RETURNING, UNMAPPED
from rocks.storage.life.transitions.record_changes import (
    REMEMBERED,
    enter,
    fresh,
    outcomes_of,
    pool_of,
    reopened,
    retried_later,
    with_found,
    with_operation,
)


def try_later(image: Image, event: Any, now: int) -> Decision:
    """The same step again, after a pause."""
    return Decision(retried_later(image, image, event, now))


def publish_and_try_later(image: Image, event: Any, now: int) -> Decision:
    """The same; the failure of a map is published before it is undone."""
    outcomes = outcomes_of((image.operation_id,), image.failure_family, image.reason)
    return Decision(replace(retried_later(image, image, event, now), operation_id=""), outcomes)


def try_again(image: Image, event: Any, now: int) -> Decision:
    """The whole step from its first effect, under a new number."""
    assert image.work is not None
    entered = replace(enter(image, image.state), blocked_from=image.blocked_from, disagrees=image.disagrees)
    return Decision(reopened(entered, image.work))


def pause_over(image: Image, event: Any, now: int) -> Decision:
    """The transfer that failed waits for a slot again."""
    return Decision(replace(image, retry_at=None))


def block(image: Image, event: Any, now: int) -> Decision:
    """The image needs operator action; the open step stays as it is."""
    if guards.GRANT_REFUSED.holds(image, event, now):
        return contradict(image, Contradicted(event.message), now)
    return _block(image, event.family, event.message)


def contradict(image: Image, event: Any, now: int) -> Decision:
    """The volume or the host contradicts the record: nobody gets the image before an operator decides."""
    what = "what the host has" if event.by_host else "what the volume says"
    text = (
        f"{event.text}; `rocks clean host storagemap {image.nas} {image.zvol}` goes on with {what}, and "
        'with force=yes reason="…" gives up what no snapshot of the NAS has'
    )
    blocked = Decision(replace(image, reason=text, failure_family="incoherent"))
    if image.state != BLOCKED:
        blocked = _block(image, "incoherent", text)
    assert blocked.image is not None
    work = None if is_recovering(blocked.image) else blocked.image.work
    disagrees: Witness = "host" if event.by_host else "volume"
    return replace(blocked, image=replace(blocked.image, work=work, retry_at=None, disagrees=disagrees))


def block_other_guid(image: Image, event: Any, now: int) -> Decision:
    """The received snapshot is another than the one sent."""
    return _block(
        image, "incoherent", f"{image.owner} received snapshot {event.facts.guid}, not {image.base_guid}"
    )


def block_unexpected_changes(image: Image, event: Any, now: int) -> Decision:
    """A device was written to before its map was published."""
    return _block(image, "incoherent", f"the map to {image.owner} failed, but data was written there")


def _block(image: Image, family: str, reason: str) -> Decision:
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids, *image.move_ids)
    text = f"ZVol {image.zvol} is blocked and needs operator action: {reason}"
    blocked = replace(
        image,
        state=BLOCKED,
        blocked_from=image.state,
        failure_family=family,
        reason=reason,
        retry_at=None,
        operation_id="",
        # nobody waits for it any more, but no guest may use the image when it goes on
        unmap_ids=(REMEMBERED,) if image.unmap_ids else (),
        pull_ids=(),
        covered_ids=(),
        move_ids=(),
    )
    return Decision(blocked, outcomes_of(waiting, family, text))


def remember_unmap(image: Image, event: Any, now: int) -> Decision:
    """The machine has ended, or a command asks: answered now, and done when the image goes on."""
    text = (
        f"ZVol {image.zvol} is blocked and needs operator action: {image.reason}; the unmapping is remembered and done "
        "when it goes on (rocks clean host storagemap)"
    )
    known = replace(image, unmap_ids=with_operation(image.unmap_ids, REMEMBERED))
    return Decision(known, outcomes_of((event.op_id,), "state", text))


def go_on_to_unmap(image: Image, event: Any, now: int) -> Decision:
    """The cause is fixed, and an unmap was remembered."""
    return Decision(fresh(enter(image, RETURNING)), outcomes_of((event.op_id,)))


def go_on(image: Image, event: Any, now: int) -> Decision:
    """Return to the former state; the open step begins again from its first effect."""
    assert image.blocked_from is not None
    back = fresh(enter(image, image.blocked_from))
    outcomes = outcomes_of((event.op_id,))
    if image.work is None:
        return Decision(back, outcomes)
    return Decision(reopened(back, image.work), outcomes)


def begin_abandon(image: Image, event: Any, now: int) -> Decision:
    """A new epoch, so that the lost host is stale when it returns; its copy is never destroyed.

    Operations that waited for that host fail; a blocked image has none. The epoch exceeds that of the volume too, and
    the host that the volume names may have changes as well as the one in the record.
    """
    standing = event.standing or Grant()
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids)
    aborted = replace(
        with_found(image, enter(image, BLOCKED)),
        epoch=max(image.epoch, standing.epoch) + 1,
        blocked_from=(image.blocked_from or RETURNING) if image.state == BLOCKED else image.state,
        operation_id=event.op_id,
        unmap_ids=(),
        pull_ids=(),
        covered_ids=(),
        tries=0,
        faults=0,
        reason=event.reason,
        abandon_reason=event.reason,
    )
    if image.owner is not None and image.sync:
        aborted = aborted.with_copy(image.owner, pool_of(image), "suspect", image.base_guid)
    if standing.owner is not None and standing.owner != image.owner and standing.sync:
        pool = standing.remote_pool or ""
        aborted = aborted.with_copy(standing.owner, pool, "suspect", standing.base_guid)
    text = f"ZVol {image.zvol}: the changes on {image.owner} were given up: {event.reason}"
    return Decision(aborted, outcomes_of(waiting, "host", text))


def abandon_copies(image: Image, event: Any, now: int) -> Decision:
    """No host has the image, but some have changes: these become suspect and are preserved."""
    epoch = max(image.epoch, 0 if event.standing is None else event.standing.epoch) + 1
    aborted = replace(fresh(enter(image, UNMAPPED)), epoch=epoch, abandon_reason=event.reason)
    for copy in image.copies:
        if copy.kind == "dirty":
            aborted = aborted.with_copy(copy.host, copy.pool, "suspect", copy.guid)
    return Decision(aborted, outcomes_of((event.op_id,)))


def not_abandoned(image: Image, event: Any, now: int) -> Decision:
    """The volume has got a higher epoch since: abandoning again exceeds that one."""
    failed = outcomes_of((image.operation_id,), event.family, event.message)
    stopped = replace(image, work=None, operation_id="", retry_at=None)
    blocked = contradict(stopped, Contradicted(event.message), now)
    return replace(blocked, outcomes=failed)
