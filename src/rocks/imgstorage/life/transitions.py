"""The transitions of the table's rows: the new record and the outcomes of operations; pure.

Every transition takes the record, the event and the time (UNIX seconds), and returns a Decision. The engine begins the
step that the row starts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Optional, Tuple

from rocks.errors import FAMILIES
from rocks.imgstorage.life import guards, names
from rocks.imgstorage.life.events import Contradicted, Unmap
from rocks.imgstorage.life.facts import NOTHING
from rocks.imgstorage.life.grants import Grant, is_recovering
from rocks.imgstorage.life.image import Decision, Image, Outcome, Step, Witness, Work
from rocks.imgstorage.life.schedule import retry_delay
from rocks.imgstorage.life.states import (
    BLOCKED,
    DELETING,
    LOCAL,
    MAPPED,
    MAPPING,
    MOVING,
    PULLING,
    REMOTE,
    RESTORING,
    RETURNING,
    SEEDING,
    SWITCHING,
    UNMAPPED,
    State,
)

REMEMBERED = "remembered"
"""In the place of the operations of unmaps that were answered already: the image was blocked."""

# --- helpers -------------------------------------------------------------------------------------------------------


def _enter(image: Image, state: State) -> Image:
    """The record in a state, with the next number and no open step."""
    return replace(
        image,
        state=state,
        sequence=image.sequence + 1,
        work=None,
        retry_at=None,
        blocked_from=None,
        disagrees="",
    )


def _fresh(image: Image) -> Image:
    """The record without its counts of failures."""
    return replace(image, tries=0, faults=0, retry_at=None, failure_family="", reason="")


def _reopened(image: Image, work: Work) -> Image:
    """The record with that step open again from its first effect, under the record's number."""
    return replace(image, work=Work(work.step, f"{image.epoch}-{image.sequence}", work.effects))


def _outcomes(
    ids: Tuple[str, ...], family: Optional[str] = None, text: str = "", device: Optional[str] = None
) -> Tuple[Outcome, ...]:
    return tuple(Outcome(op_id, family, text, device) for op_id in ids if op_id)


def _with_op(ids: Tuple[str, ...], op_id: str) -> Tuple[str, ...]:
    return ids if op_id in ids else (*ids, op_id)


def _pool(image: Image) -> str:
    return image.remote_pool or ""


# --- map -----------------------------------------------------------------------------------------------------------


def begin_map(image: Image, event: Any, now: int) -> Decision:
    """A new epoch for the host; reports under an older one are rejected from here on."""
    granted = replace(
        _fresh(_enter(image, MAPPING)),
        epoch=image.epoch + 1,
        owner=event.host,
        remote_pool=event.remote_pool,
        sync=event.sync,
        initiator=event.initiator,
        lease_token=image.lease_token if event.lease_token is None else event.lease_token,
        machine=image.machine or event.machine,
        size_bytes=image.size_bytes or event.size_bytes,
        device=None,
        pending_name=None,
        operation_id=event.op_id,
    )
    return Decision(granted)


def already_mapped(image: Image, event: Any, now: int) -> Decision:
    """Publish the device again and record the newest lease: the end of a machine under an older one is ignored."""
    tokens = [token for token in (image.lease_token, event.lease_token) if token is not None]
    known = replace(image, lease_token=max(tokens, default=None))
    return Decision(known, _outcomes((event.op_id,), device=image.device))


def _prepared(image: Image, event: Any) -> Image:
    """The record with the facts about the NAS's volume."""
    facts = event.facts
    return replace(
        _fresh(_enter(image, MAPPING)),
        size_bytes=facts.size_bytes or image.size_bytes,
        volume_guid=image.volume_guid or facts.volume_guid,
        base_name=facts.base_name or image.base_name,
        base_guid=facts.base_guid or image.base_guid,
    )


def attach_overlay(image: Image, event: Any, now: int) -> Decision:
    """The host has no copy, an older one, or one that must be quarantined."""
    return Decision(_exported(_prepared(image, event)))


def attach_linear(image: Image, event: Any, now: int) -> Decision:
    """The host's copy equals the image."""
    return Decision(_prepared(image, event))


def attach_remote(image: Image, event: Any, now: int) -> Decision:
    """The image stays on the NAS."""
    return Decision(_exported(_prepared(image, event)))


def _exported(image: Image) -> Image:
    return replace(image, target=names.target_name(image.nas, image.zvol, image.epoch))


def no_free_space(image: Image, event: Any, now: int) -> Decision:
    """Revoke the grant and report the numbers."""
    text = guards.shortage(image, event.facts)
    return _give_back(
        _prepared(image, event), "state", f"ZVol {image.zvol} is not mapped to {image.owner}: {text}"
    )


def would_lose_changes(image: Image, event: Any, now: int) -> Decision:
    """Revoke the grant: the copy there needs operator action."""
    text = (
        f"ZVol {image.zvol} is not mapped: {image.owner} has changes on a base that is no longer the "
        f"NAS's newest; see `rocks list host storagesnap`, then run `rocks clean host storagemap`"
    )
    return _give_back(_prepared(image, event), "state", text)


def _give_back(image: Image, family: str, text: str) -> Decision:
    """The host has been given nothing."""
    failed = replace(image, failure_family=family, reason=text, state=MAPPING)
    return Decision(failed)


def give_back(image: Image, event: Any, now: int) -> Decision:
    """The map failed before the host was given a device."""
    return _give_back(_stopped(image), event.family, _attach_text(event.message))


def undo_map(image: Image, event: Any, now: int) -> Decision:
    """The map failed on the host: the host undoes it."""
    failed = replace(_stopped(image), failure_family=event.family, reason=_attach_text(event.message))
    return Decision(failed)


def cancel_map(image: Image, event: Any, now: int) -> Decision:
    """The map is cancelled by a command: the host undoes it."""
    failed = replace(_stopped(image), failure_family="state", reason="the mapping was cancelled")
    return Decision(failed, _outcomes((event.op_id,)))


def _stopped(image: Image) -> Image:
    """The record of a map that is given up; a base that it has made is the base from here on."""
    return _with_found(image, _enter(image, MAPPING))


def _with_found(before: Image, image: Image) -> Image:
    """The record with the volume and the base that the open step has found."""
    facts = NOTHING if before.work is None else before.work.facts
    return replace(
        image,
        volume_guid=before.volume_guid or facts.volume_guid,
        base_name=facts.base_name or before.base_name,
        base_guid=facts.base_guid or before.base_guid,
    )


def undone(image: Image, event: Any, now: int) -> Decision:
    """The host has undone the map."""
    left = replace(_enter(image, MAPPING), tries=0, faults=0)
    return Decision(left)


def map_failed(image: Image, event: Any, now: int) -> Decision:
    """All is as before; the failure is published."""
    failed = _outcomes((image.operation_id,), image.failure_family, image.reason)
    return Decision(_unmapped(image), (*failed, *_outcomes(image.unmap_ids)))


def _attach_text(message: str) -> str:
    return f"Error attaching iSCSI target to compute node: {message}"


def attached(image: Image, event: Any, now: int) -> Decision:
    """The guest may start."""
    assert image.work is not None
    state = _ATTACHED[image.work.step]
    entered = replace(_fresh(_enter(image, state)), device=event.facts.device, operation_id="")
    if state == LOCAL:
        entered = entered.with_copy(entered.owner or "", _pool(image), "dirty", image.base_guid)
    return Decision(entered, _outcomes((image.operation_id,), device=event.facts.device))


def attached_then_unmap(image: Image, event: Any, now: int) -> Decision:
    """An unmap was requested meanwhile."""
    done = attached(image, event, now)
    assert done.image is not None
    back = take_back_copy if done.image.state == LOCAL else take_back_overlay
    then = back(done.image, None, now)
    return replace(then, outcomes=(*done.outcomes, *then.outcomes))


_ATTACHED: Dict[Step, State] = {"attach_overlay": MAPPED, "attach_linear": LOCAL, "attach_remote": REMOTE}


# --- copy, switch, merge -------------------------------------------------------------------------------------------


def begin_seed(image: Image, event: Any, now: int) -> Decision:
    """Earlier failures still count: they are of the same copy."""
    seeding = _enter(image, SEEDING).with_copy(image.owner or "", _pool(image), "partial")
    return Decision(seeding)


def seed_failed(image: Image, event: Any, now: int) -> Decision:
    """Wait for the next slot, after a pause."""
    return Decision(_paused(_enter(image, MAPPED), image, event, now))


def begin_switch(image: Image, event: Any, now: int) -> Decision:
    """The copy will be written to, so it counts as dirty."""
    switching = _fresh(_enter(image, SWITCHING))
    switching = switching.with_copy(image.owner or "", _pool(image), "dirty", image.base_guid)
    return Decision(switching)


def begin_merge(image: Image, event: Any, now: int) -> Decision:
    """The export is no longer needed."""
    merging = _fresh(_enter(image, SWITCHING))
    return Decision(merging)


def became_local(image: Image, event: Any, now: int) -> Decision:
    """The image is independent of the NAS."""
    return Decision(_fresh(_enter(image, LOCAL)))


# --- write changes back ------------------------------------------------------------------------------------------


def begin_pull(image: Image, event: Any, now: int) -> Decision:
    """An interrupted snapshot is sent first, so that its resume token is used.

    Pulls requested after it was named wait for the next one.
    """
    pulling = _enter(image, PULLING)
    if image.pending_name is None:
        pulling = replace(pulling, covered_ids=image.pull_ids)
    name = image.pending_name or names.snapshot_name(pulling.epoch, pulling.sequence, now)
    pulling = replace(pulling, pending_name=name)
    return Decision(pulling)


def ask_pull(image: Image, event: Any, now: int) -> Decision:
    """The scheduler starts the pull."""
    return Decision(replace(image, pull_ids=_with_op(image.pull_ids, event.op_id)))


def accept_pull(image: Image, event: Any, now: int) -> Decision:
    """The host reports that the NAS has the snapshot."""
    assert image.pending_name is not None
    return Decision(_enter(image, PULLING))


def pulled(image: Image, event: Any, now: int) -> Decision:
    """The NAS has the snapshot: it is the new base."""
    based = replace(
        _fresh(_enter(image, PULLING)),
        base_name=image.pending_name,
        base_guid=event.facts.guid,
        pending_name=None,
        pull_ids=tuple(op_id for op_id in image.pull_ids if op_id not in image.covered_ids),
        covered_ids=(),
    ).with_copy(image.owner or "", _pool(image), "dirty", event.facts.guid)
    return Decision(based, _outcomes(image.covered_ids))


def settled(image: Image, event: Any, now: int) -> Decision:
    """The host releases the older base now, or at the next pull."""
    return Decision(_fresh(_enter(image, LOCAL)))


def pull_failed(image: Image, event: Any, now: int) -> Decision:
    """Wait for the next slot, after a pause; then the same snapshot is sent."""
    return Decision(_paused(_enter(image, LOCAL), image, event, now))


# --- unmap ---------------------------------------------------------------------------------------------------------


def wait_to_unmap(image: Image, event: Any, now: int) -> Decision:
    """The present step ends first; the request is answered when the image is written back."""
    return Decision(replace(image, unmap_ids=_with_op(image.unmap_ids, event.op_id)))


def forget_unmap(image: Image, event: Any, now: int) -> Decision:
    """The image stays with its host; the unmaps that waited fail."""
    outcomes = _outcomes(image.unmap_ids, "state", f"the unmapping of ZVol {image.zvol} was cancelled")
    return Decision(replace(image, unmap_ids=()), (*outcomes, *_outcomes((event.op_id,))))


def _returning(image: Image, event: Any) -> Image:
    """The record as returning; unless the event is the Unmap itself, the waiting operations are in it already."""
    ids = _with_op(image.unmap_ids, event.op_id) if isinstance(event, Unmap) else image.unmap_ids
    return replace(_fresh(_enter(image, RETURNING)), unmap_ids=ids)


def take_back_overlay(image: Image, event: Any, now: int) -> Decision:
    """Unmap from a host that uses the NAS's disk."""
    back = _returning(image, event)
    return Decision(back)


def take_back_copy(image: Image, event: Any, now: int) -> Decision:
    """Unmap from a host that uses its copy."""
    back = _returning(image, event)
    return Decision(back)


def copy_first(image: Image, event: Any, now: int) -> Decision:
    """The guest has written: the image is copied and merged, then written back."""
    return Decision(_fresh(_enter(image, MAPPED)))


def give_up_unmap(image: Image, event: Any, now: int) -> Decision:
    """A guest has the device open: nothing was changed, and the unmaps that waited fail."""
    state = LOCAL
    if image.work is not None and image.work.step == "drop":
        state = MAPPED if image.sync else REMOTE
    text = f"Error detaching iSCSI target from compute node: {event.message}"
    stays = replace(_fresh(_enter(image, state)), unmap_ids=())
    return Decision(stays, _outcomes(image.unmap_ids, "state", text))


def begin_return(image: Image, event: Any, now: int) -> Decision:
    """The device is gone; no more writes can come."""
    back = _fresh(_enter(image, RETURNING))
    back = replace(back, pending_name=names.snapshot_name(back.epoch, back.sequence, now))
    return Decision(back)


def begin_discard(image: Image, event: Any, now: int) -> Decision:
    """The image is not persistent."""
    back = _fresh(_enter(image, RETURNING))
    return Decision(back)


def begin_confirm(image: Image, event: Any, now: int) -> Decision:
    """The host reports that the NAS has the final snapshot."""
    assert image.pending_name is not None
    back = replace(_fresh(_enter(image, RETURNING)), final_guid=event.facts.guid)
    return Decision(back)


def begin_leave(image: Image, event: Any, now: int) -> Decision:
    """The host has no changes to write back."""
    back = _fresh(_enter(image, RETURNING))
    if image.work is not None and image.work.step == "discard":
        back = back.with_copy(image.owner or "", _pool(image), "clean", image.base_guid)
    return Decision(back)


def written_back(image: Image, event: Any, now: int) -> Decision:
    """The NAS has the final snapshot: the host's copy is a cache from here on."""
    based = replace(image, base_name=image.pending_name, base_guid=image.final_guid)
    based = based.with_copy(image.owner or "", _pool(image), "clean", image.final_guid)
    return Decision(_unmapped(based), _outcomes((*image.pull_ids, *image.unmap_ids)))


def has_left(image: Image, event: Any, now: int) -> Decision:
    """No host has the image."""
    return Decision(_unmapped(image), _outcomes((*image.pull_ids, *image.unmap_ids)))


def _unmapped(image: Image) -> Image:
    copies = tuple(copy for copy in image.copies if copy.kind != "partial")
    return replace(
        _fresh(_enter(image, UNMAPPED)),
        owner=None,
        remote_pool=None,
        initiator=None,
        device=None,
        pending_name=None,
        operation_id="",
        unmap_ids=(),
        pull_ids=(),
        covered_ids=(),
        due_at=None,
        peer=None,
        peer_pool=None,
        move_ids=(),
        grace_seconds=0,
        copies=copies,
    )


# --- failures, blocking, giving up ----------------------------------------------------------------------------------


def _paused(image: Image, before: Image, event: Any, now: int) -> Image:
    tries = before.tries + 1
    faults = before.faults + (0 if FAMILIES[event.family].retry else 1)
    return replace(image, tries=tries, faults=faults, retry_at=now + retry_delay(tries), reason=event.message)


def try_later(image: Image, event: Any, now: int) -> Decision:
    """The same step again, after a pause."""
    return Decision(_paused(image, image, event, now))


def publish_and_try_later(image: Image, event: Any, now: int) -> Decision:
    """The same; the failure of a map is published before it is undone."""
    outcomes = _outcomes((image.operation_id,), image.failure_family, image.reason)
    return Decision(replace(_paused(image, image, event, now), operation_id=""), outcomes)


def try_again(image: Image, event: Any, now: int) -> Decision:
    """The whole step from its first effect, under a new number."""
    assert image.work is not None
    entered = replace(_enter(image, image.state), blocked_from=image.blocked_from, disagrees=image.disagrees)
    return Decision(_reopened(entered, image.work))


def pause_over(image: Image, event: Any, now: int) -> Decision:
    """The transfer that failed waits for a slot again."""
    return Decision(replace(image, retry_at=None))


def block(image: Image, event: Any, now: int) -> Decision:
    """The image needs operator action; the open step stays as it is."""
    if guards.LEASE_REFUSED.holds(image, event, now):
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
    return replace(blocked, image=replace(blocked.image, work=work, disagrees=disagrees))


def block_other_guid(image: Image, event: Any, now: int) -> Decision:
    """The received snapshot is another than the one sent."""
    return _block(
        image, "incoherent", f"{image.owner} received snapshot {event.facts.guid}, not {image.base_guid}"
    )


def block_unexpected_changes(image: Image, event: Any, now: int) -> Decision:
    """A device was written to before its map was published."""
    return _block(image, "incoherent", f"the map to {image.owner} failed, but data was written there")


def block_lost(image: Image, event: Any, now: int) -> Decision:
    """Only the NAS's last snapshot is certain; the owner is lost."""
    return _block(image, "host", f"{event.host} is lost: {event.reason}")


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
    return Decision(blocked, _outcomes(waiting, family, text))


def remember_unmap(image: Image, event: Any, now: int) -> Decision:
    """The machine has ended, or a command asks: answered now, and done when the image goes on."""
    text = (
        f"ZVol {image.zvol} is blocked and needs operator action: {image.reason}; the unmapping is remembered and done "
        "when it goes on (rocks clean host storagemap)"
    )
    known = replace(image, unmap_ids=_with_op(image.unmap_ids, REMEMBERED))
    return Decision(known, _outcomes((event.op_id,), "state", text))


def go_on_to_unmap(image: Image, event: Any, now: int) -> Decision:
    """The cause is fixed, and an unmap was remembered."""
    return Decision(_fresh(_enter(image, RETURNING)), _outcomes((event.op_id,)))


def go_on(image: Image, event: Any, now: int) -> Decision:
    """Return to the former state; the open step begins again from its first effect."""
    assert image.blocked_from is not None
    back = _fresh(_enter(image, image.blocked_from))
    outcomes = _outcomes((event.op_id,))
    if image.work is None:
        return Decision(back, outcomes)
    return Decision(_reopened(back, image.work), outcomes)


def begin_abandon(image: Image, event: Any, now: int) -> Decision:
    """A new epoch, so that the lost host is stale when it returns; its copy is never destroyed.

    Operations that waited for that host fail; a blocked image has none. The epoch exceeds that of the volume too, and
    the host that the volume names may have changes as well as the one in the record.
    """
    standing = event.standing or Grant()
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids)
    given_up = replace(
        _with_found(image, _enter(image, BLOCKED)),
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
        given_up = given_up.with_copy(image.owner, _pool(image), "suspect", image.base_guid)
    if standing.owner is not None and standing.owner != image.owner and standing.sync:
        pool = standing.remote_pool or ""
        given_up = given_up.with_copy(standing.owner, pool, "suspect", standing.base_guid)
    text = f"ZVol {image.zvol}: the changes on {image.owner} were given up: {event.reason}"
    return Decision(given_up, _outcomes(waiting, "host", text))


def give_up_copies(image: Image, event: Any, now: int) -> Decision:
    """No host has the image, but some have changes: these become suspect and are preserved."""
    epoch = max(image.epoch, 0 if event.standing is None else event.standing.epoch) + 1
    given_up = replace(_fresh(_enter(image, UNMAPPED)), epoch=epoch, abandon_reason=event.reason)
    for copy in image.copies:
        if copy.kind == "dirty":
            given_up = given_up.with_copy(copy.host, copy.pool, "suspect", copy.guid)
    return Decision(given_up, _outcomes((event.op_id,)))


def not_abandoned(image: Image, event: Any, now: int) -> Decision:
    """The volume has got a higher epoch since: giving up again exceeds that one."""
    failed = _outcomes((image.operation_id,), event.family, event.message)
    stopped = replace(image, work=None, operation_id="", retry_at=None)
    blocked = contradict(stopped, Contradicted(event.message), now)
    return replace(blocked, outcomes=failed)


def abandoned(image: Image, event: Any, now: int) -> Decision:
    """The NAS's newest snapshot is the image."""
    return Decision(_unmapped(image), _outcomes((image.operation_id,)))


# --- delete, restore -----------------------------------------------------------------------------------------------


def begin_delete(image: Image, event: Any, now: int) -> Decision:
    """First check whether the volume may be destroyed."""
    deleting = replace(
        _fresh(_enter(image, DELETING)), operation_id=event.op_id, due_at=now + event.grace_seconds
    )
    return Decision(deleting)


def cannot_delete(image: Image, event: Any, now: int) -> Decision:
    """Clones or foreign holds need the volume."""
    obstacles = ", ".join(event.facts.obstacles or ())
    text = f"Error deleting zvol {image.zvol}: others need it: {obstacles}; remove these first"
    return Decision(_unmapped(image), _outcomes((image.operation_id,), "state", text))


def cannot_delete_other(image: Image, event: Any, now: int) -> Decision:
    """Only the volume of the image's guid may be destroyed."""
    text = (
        f"Error deleting zvol {image.zvol}: another volume has the name {image.volume} (guid "
        f"{event.facts.volume_guid}, the image's was {image.volume_guid}); rename that one first"
    )
    return Decision(_unmapped(image), _outcomes((image.operation_id,), "incoherent", text))


def operation_failed(image: Image, event: Any, now: int) -> Decision:
    """Nothing was changed."""
    return Decision(_unmapped(image), _outcomes((image.operation_id,), event.family, event.message))


def begin_mark(image: Image, event: Any, now: int) -> Decision:
    """The volume is marked too."""
    marked = replace(_fresh(_enter(image, DELETING)), volume_guid=event.facts.volume_guid)
    return Decision(marked)


def marked(image: Image, event: Any, now: int) -> Decision:
    """The image waits for the end of the grace period."""
    waiting = replace(_fresh(_enter(image, DELETING)), operation_id="")
    return Decision(waiting, _outcomes((image.operation_id,)))


def begin_unmark(image: Image, event: Any, now: int) -> Decision:
    """The image is not destroyed."""
    undeleted = replace(_fresh(_enter(image, DELETING)), operation_id=event.op_id, due_at=None)
    return Decision(undeleted)


def operation_done(image: Image, event: Any, now: int) -> Decision:
    """No host has the image."""
    return Decision(_unmapped(image), _outcomes((image.operation_id,)))


def begin_destroy(image: Image, event: Any, now: int) -> Decision:
    """The grace period has ended."""
    destroying = _fresh(_enter(image, DELETING))
    return Decision(destroying)


def forget(image: Image, event: Any, now: int) -> Decision:
    """The image no longer exists."""
    return Decision(None, _outcomes((image.operation_id,)))


def begin_restore(image: Image, event: Any, now: int) -> Decision:
    """A new epoch: hosts compare their copies by guid at the next map."""
    restoring = replace(_fresh(_enter(image, RESTORING)), epoch=image.epoch + 1, operation_id=event.op_id)
    restoring = replace(restoring, pending_name=event.snapshot_name, final_guid=event.snapshot_guid)
    return Decision(restoring)


def begin_exchange(image: Image, event: Any, now: int) -> Decision:
    """The snapshot is a clone beside the volume."""
    exchanging = replace(
        _fresh(_enter(image, RESTORING)), volume_guid=image.volume_guid or event.facts.volume_guid
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
    return Decision(_unmapped(based), _outcomes((image.operation_id,)))


# --- move to another NAS -------------------------------------------------------------------------------------------


def begin_move(image: Image, event: Any, now: int) -> Decision:
    """A new epoch: the other NAS recognises by it what belongs to this attempt."""
    moving = replace(
        _fresh(_enter(image, MOVING)),
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
    ids = _with_op(image.move_ids, event.op_id)
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
    return Decision(replace(_fresh(_enter(image, MOVING)), volume_guid=volume_guid))


def begin_hand_over(image: Image, event: Any, now: int) -> Decision:
    """From here on the other NAS may have the image: the move cannot be cancelled any more."""
    sent = replace(
        _fresh(_enter(image, MOVING)),
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
    return replace(stopped, outcomes=(*stopped.outcomes, *_outcomes((event.op_id,))))


def abandon_move(image: Image, event: Any, now: int) -> Decision:
    """The other NAS is lost, perhaps while it took the image over: the image is this NAS's again."""
    text = f"the move of ZVol {image.zvol} to {image.peer} was given up: {event.reason}"
    begun = begin_abandon(replace(image, move_ids=()), event, now)
    return replace(begun, outcomes=_outcomes(image.move_ids, "host", text))


def resume_move(image: Image, event: Any, now: int) -> Decision:
    """Send again: a NAS that has taken the image over reports that, and one that has it receives nothing twice."""
    return Decision(_fresh(_enter(image, MOVING)), _outcomes((event.op_id,)))


def moved(image: Image, event: Any, now: int) -> Decision:
    """The other NAS has the image; its former volume is an image of its own, which waits for its destruction."""
    left = replace(
        _fresh(_enter(image, DELETING)),
        image_id=names.left_image_id(image.image_id, image.nas, image.epoch),
        copies=(),
        move_ids=(),
        due_at=now + image.grace_seconds,
    )
    return Decision(left, _outcomes(image.move_ids))


def already_moved(image: Image, event: Any, now: int) -> Decision:
    """The command is repeated."""
    return Decision(image, _outcomes((event.op_id,)))


def _not_moved(image: Image, family: str, reason: str) -> Decision:
    text = f"ZVol {image.zvol} was not moved to {image.peer} and stays on {image.nas}: {reason}"
    return Decision(_unmapped(image), _outcomes(image.move_ids, family, text))


# --- in every state ------------------------------------------------------------------------------------------------


def configure(image: Image, event: Any, now: int) -> Decision:
    """Effective at the next unmap."""
    return Decision(replace(image, persistent=event.persistent), _outcomes((event.op_id,)))


def note_copy(image: Image, event: Any, now: int) -> Decision:
    """The owner's answers are newer than its report; changes of another host under an old epoch are suspect."""
    if event.host == image.owner:
        return Decision(image)
    known = image.copy_on(event.host)
    kind = event.kind
    is_overtaken = event.copy_epoch < image.epoch or image.owner is not None
    if kind == "dirty" and (is_overtaken or (known is not None and known.kind == "suspect")):
        kind = "suspect"
    return Decision(image.with_copy(event.host, event.pool, kind, event.guid))


def stay(image: Image, event: Any, now: int) -> Decision:
    """The record stays as it is."""
    return Decision(image)


def is_performing(image: Image) -> bool:
    """Whether the open step is to be performed: that of a blocked image is stored, but not performed."""
    if image.work is None or image.state != BLOCKED:
        return image.work is not None
    return image.work.step == "abandon" or is_recovering(image)
