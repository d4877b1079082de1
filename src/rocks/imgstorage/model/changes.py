"""What a row of the table does to the record: the new record, its open step, and who is told what; pure.

Every function takes the record, the event and the time (UNIX seconds), and returns a Decision.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional, Tuple

from rocks.errors import FAMILIES
from rocks.imgstorage.model import names, rules, steps
from rocks.imgstorage.model.effects import MapLinear, MapRemote
from rocks.imgstorage.model.events import Unmap
from rocks.imgstorage.model.facts import NOTHING, CopyFact
from rocks.imgstorage.model.image import Decision, Image, Outcome, Step, Work
from rocks.imgstorage.model.schedule import retry_delay
from rocks.imgstorage.model.states import (
    DELETING,
    HELD,
    LOCAL,
    MAPPED,
    MAPPING,
    PULLING,
    REMOTE,
    RESTORING,
    RETURNING,
    SEEDING,
    SWITCHING,
    UNMAPPED,
    State,
)

# --- helpers -------------------------------------------------------------------------------------------------------


def _enter(image: Image, state: State) -> Image:
    """The record in a state, with the next number and nothing open."""
    return replace(image, state=state, sequence=image.sequence + 1, work=None, retry_at=None, held_from=None)


def _fresh(image: Image) -> Image:
    """The record without the memory of failures."""
    return replace(image, tries=0, faults=0, retry_at=None, failure_family="", reason="")


def _start(image: Image, step: Step, effects: steps.Effects, outcomes: Tuple[Outcome, ...] = ()) -> Decision:
    """The record with an open step. Its number is the record's, so each start comes after an `_enter`."""
    work = Work(step, f"{image.epoch}-{image.sequence}", effects)
    return Decision(replace(image, work=work), effects, outcomes)


def _told(
    ids: Tuple[str, ...], family: Optional[str] = None, text: str = "", device: Optional[str] = None
) -> Tuple[Outcome, ...]:
    return tuple(Outcome(op_id, family, text, device) for op_id in ids if op_id)


def _with_op(ids: Tuple[str, ...], op_id: str) -> Tuple[str, ...]:
    return ids if op_id in ids else (*ids, op_id)


def _pool(image: Image) -> str:
    return image.remote_pool or ""


# --- map -----------------------------------------------------------------------------------------------------------


def begin_map(image: Image, event: Any, now: int) -> Decision:
    """A new epoch for the host; whoever spoke for an older one is refused from here on."""
    granted = replace(
        _fresh(_enter(image, MAPPING)),
        epoch=image.epoch + 1,
        owner=event.host,
        remote_pool=event.remote_pool,
        sync=event.sync,
        initiator=event.initiator,
        lease_token=image.lease_token if event.lease_token is None else event.lease_token,
        size_bytes=image.size_bytes or event.size_bytes,
        device=None,
        pending_name=None,
        operation_id=event.op_id,
    )
    return _start(granted, "prepare", steps.prepare(granted, now))


def already_mapped(image: Image, event: Any, now: int) -> Decision:
    """Tell the device again. The newest lease is remembered: the end of a machine of an older one is no news then."""
    tokens = [token for token in (image.lease_token, event.lease_token) if token is not None]
    known = replace(image, lease_token=max(tokens, default=None))
    return Decision(known, (), _told((event.op_id,), device=image.device))


def _prepared(image: Image, event: Any) -> Image:
    """What the NAS has found out of its own volume."""
    facts = event.facts
    return replace(
        _fresh(_enter(image, MAPPING)),
        size_bytes=facts.size_bytes or image.size_bytes,
        volume_guid=image.volume_guid or facts.volume_guid,
        base_name=facts.base_name or image.base_name,
        base_guid=facts.base_guid or image.base_guid,
    )


def attach_overlay(image: Image, event: Any, now: int) -> Decision:
    """The host has no copy, an older one, or one that must be set aside."""
    copy = event.facts.copy or CopyFact()
    ready = replace(_prepared(image, event), target=names.target_name(image.nas, image.zvol, image.epoch))
    aside = rules.copy_must_go_aside(copy, event.facts)
    room = rules.room_needed(ready, event.facts)
    return _start(ready, "attach", steps.attach_overlay(ready, aside, room))


def attach_linear(image: Image, event: Any, now: int) -> Decision:
    """The host's copy is the image."""
    ready = _prepared(image, event)
    return _start(ready, "attach", steps.attach_linear(ready))


def attach_remote(image: Image, event: Any, now: int) -> Decision:
    """The image stays where it is."""
    ready = replace(_prepared(image, event), target=names.target_name(image.nas, image.zvol, image.epoch))
    aside = rules.leftovers_must_go_aside(event.facts.copy or CopyFact())
    return _start(ready, "attach", steps.attach_remote(ready, aside))


def no_room(image: Image, event: Any, now: int) -> Decision:
    """Give the grant back, with the numbers."""
    text = rules.shortage(image, event.facts)
    return _give_back(
        _prepared(image, event), "state", f"ZVol {image.zvol} is not mapped to {image.owner}: {text}"
    )


def would_lose_changes(image: Image, event: Any, now: int) -> Decision:
    """Give the grant back: the copy there must be looked at by an operator."""
    text = (
        f"ZVol {image.zvol} is not mapped: {image.owner} has changes that the NAS does not have, and the NAS has "
        f"gone on without them; see `rocks list host storagesnap`, then `rocks clean host storagemap`"
    )
    return _give_back(_prepared(image, event), "state", text)


def _give_back(image: Image, family: str, text: str) -> Decision:
    """`image` has been entered; the host has been given nothing."""
    failed = replace(image, failure_family=family, reason=text, state=MAPPING)
    return _start(failed, "leave", steps.leave(failed))


def give_back(image: Image, event: Any, now: int) -> Decision:
    """The map failed before the host was given anything."""
    return _give_back(_stopped(image), event.family, _attach_text(event.message))


def undo_map(image: Image, event: Any, now: int) -> Decision:
    """The map failed while the host was at it: the host takes back what it has done."""
    failed = replace(_stopped(image), failure_family=event.family, reason=_attach_text(event.message))
    return _start(failed, "undo", steps.undo(failed))


def cancel_map(image: Image, event: Any, now: int) -> Decision:
    """The same, because somebody asked for it."""
    failed = replace(_stopped(image), failure_family="state", reason="the mapping was cancelled")
    return _start(failed, "undo", steps.undo(failed), _told((event.op_id,)))


def _stopped(image: Image) -> Image:
    """The record of a map that goes no further; a base that it has made, and holds, is the base from here on."""
    return _with_found(image, _enter(image, MAPPING))


def _with_found(before: Image, image: Image) -> Image:
    """With the volume and the base that the open step has found."""
    facts = NOTHING if before.work is None else before.work.facts
    return replace(
        image,
        volume_guid=before.volume_guid or facts.volume_guid,
        base_name=facts.base_name or before.base_name,
        base_guid=facts.base_guid or before.base_guid,
    )


def undone(image: Image, event: Any, now: int) -> Decision:
    """The host has nothing of it any more."""
    left = replace(_enter(image, MAPPING), tries=0, faults=0)
    return _start(left, "leave", steps.leave(left))


def map_failed(image: Image, event: Any, now: int) -> Decision:
    """All is as before; now it is told."""
    failed = _told((image.operation_id,), image.failure_family, image.reason)
    return Decision(_unmapped(image), (), (*failed, *_told(image.unmap_ids)))


def _attach_text(message: str) -> str:
    return f"Error attaching iSCSI target to compute node: {message}"


def attached(image: Image, event: Any, now: int) -> Decision:
    """The caller may start the guest."""
    state = _attached_state(image)
    entered = replace(_fresh(_enter(image, state)), device=event.facts.device, operation_id="")
    if state == LOCAL:
        entered = entered.with_copy(entered.owner or "", _pool(image), "dirty", image.base_guid)
    return Decision(entered, (), _told((image.operation_id,), device=event.facts.device))


def attached_then_unmap(image: Image, event: Any, now: int) -> Decision:
    """Somebody has asked for it back meanwhile."""
    done = attached(image, event, now)
    assert done.image is not None
    back = take_back_copy if done.image.state == LOCAL else take_back_overlay
    then = back(done.image, None, now)
    return replace(then, outcomes=(*done.outcomes, *then.outcomes))


def _attached_state(image: Image) -> State:
    assert image.work is not None
    request = getattr(image.work.effects[-1], "request", None)
    if isinstance(request, MapLinear):
        return LOCAL
    return REMOTE if isinstance(request, MapRemote) else MAPPED


# --- copy, switch, merge -------------------------------------------------------------------------------------------


def begin_seed(image: Image, event: Any, now: int) -> Decision:
    """Failures before are remembered: they are of the same copy."""
    seeding = _enter(image, SEEDING).with_copy(image.owner or "", _pool(image), "partial")
    return _start(seeding, "seed", steps.seed(seeding))


def seed_failed(image: Image, event: Any, now: int) -> Decision:
    """Wait for the next slot, after a pause."""
    return Decision(_paused(_enter(image, MAPPED), image, event, now))


def begin_switch(image: Image, event: Any, now: int) -> Decision:
    """From here the copy will be written to, so it counts as dirty."""
    switching = _fresh(_enter(image, SWITCHING))
    switching = switching.with_copy(image.owner or "", _pool(image), "dirty", image.base_guid)
    return _start(switching, "switch", steps.switch(switching))


def begin_merge(image: Image, event: Any, now: int) -> Decision:
    """The export is wanted no more."""
    merging = _fresh(_enter(image, SWITCHING))
    return _start(merging, "merge", steps.merge(merging))


def became_local(image: Image, event: Any, now: int) -> Decision:
    """The image is on its own."""
    return Decision(_fresh(_enter(image, LOCAL)))


# --- changes come home ---------------------------------------------------------------------------------------------


def begin_pull(image: Image, event: Any, now: int) -> Decision:
    """A snapshot whose sending was cut is sent first, so that its resume token is of use.

    Whoever asked after that one was named waits for the next.
    """
    pulling = _enter(image, PULLING)
    if image.pending_name is None:
        pulling = replace(pulling, covered_ids=image.pull_ids)
    name = image.pending_name or names.snapshot_name(pulling.epoch, pulling.sequence, now)
    pulling = replace(pulling, pending_name=name)
    return _start(pulling, "pull", steps.pull(pulling, name))


def ask_pull(image: Image, event: Any, now: int) -> Decision:
    """The schedule sees it."""
    return Decision(replace(image, pull_ids=_with_op(image.pull_ids, event.op_id)))


def accept_pull(image: Image, event: Any, now: int) -> Decision:
    """The host says that the NAS has it."""
    assert image.pending_name is not None
    accepting = _enter(image, PULLING)
    effects = steps.accept(accepting, event.facts.guid or "", image.pending_name)
    return _start(accepting, "accept", effects)


def pulled(image: Image, event: Any, now: int) -> Decision:
    """The NAS has it: it is the new base, and the host is told."""
    based = replace(
        _fresh(_enter(image, PULLING)),
        base_name=image.pending_name,
        base_guid=event.facts.guid,
        pending_name=None,
        pull_ids=tuple(op_id for op_id in image.pull_ids if op_id not in image.covered_ids),
        covered_ids=(),
    ).with_copy(image.owner or "", _pool(image), "dirty", event.facts.guid)
    return _start(based, "settle", steps.settle(based), _told(image.covered_ids))


def settled(image: Image, event: Any, now: int) -> Decision:
    """A host that could not be told lets go of the older base at the next pull."""
    return Decision(_fresh(_enter(image, LOCAL)))


def pull_failed(image: Image, event: Any, now: int) -> Decision:
    """Wait for the next slot, after a pause; the same snapshot is sent then."""
    return Decision(_paused(_enter(image, LOCAL), image, event, now))


# --- unmap ---------------------------------------------------------------------------------------------------------


def wait_to_unmap(image: Image, event: Any, now: int) -> Decision:
    """What is under way ends first; who asked is told when the image is home."""
    return Decision(replace(image, unmap_ids=_with_op(image.unmap_ids, event.op_id)))


def forget_unmap(image: Image, event: Any, now: int) -> Decision:
    """The image stays with its host."""
    outcomes = _told(image.unmap_ids, "state", f"the unmapping of ZVol {image.zvol} was cancelled")
    return Decision(replace(image, unmap_ids=()), (), (*outcomes, *_told((event.op_id,))))


def _wanted_back(image: Image, event: Any) -> Image:
    """The record on its way home; unless the event is the Unmap itself, those who wait are in it already."""
    ids = _with_op(image.unmap_ids, event.op_id) if isinstance(event, Unmap) else image.unmap_ids
    return replace(_fresh(_enter(image, RETURNING)), unmap_ids=ids)


def take_back_overlay(image: Image, event: Any, now: int) -> Decision:
    """From a host that works on the NAS's disk."""
    back = _wanted_back(image, event)
    return _start(back, "drop", steps.drop(back))


def take_back_copy(image: Image, event: Any, now: int) -> Decision:
    """From a host that works on its copy."""
    back = _wanted_back(image, event)
    return _start(back, "detach", steps.detach(back))


def copy_first(image: Image, event: Any, now: int) -> Decision:
    """The guest has written: the image is copied and merged, and comes home whole."""
    return Decision(_fresh(_enter(image, MAPPED)))


def give_up_unmap(image: Image, event: Any, now: int) -> Decision:
    """A guest has the device: nothing was changed, and nobody waits any more."""
    state = LOCAL
    if image.work is not None and image.work.step == "drop":
        state = MAPPED if image.sync else REMOTE
    text = f"Error detaching iSCSI target from compute node: {event.message}"
    stays = replace(_fresh(_enter(image, state)), unmap_ids=())
    return Decision(stays, (), _told(image.unmap_ids, "state", text))


def begin_return(image: Image, event: Any, now: int) -> Decision:
    """The device has gone; nothing is written any more."""
    back = _fresh(_enter(image, RETURNING))
    back = replace(back, pending_name=names.snapshot_name(back.epoch, back.sequence, now))
    return _start(back, "return", steps.return_copy(back, now))


def begin_discard(image: Image, event: Any, now: int) -> Decision:
    """The image is not persistent."""
    back = _fresh(_enter(image, RETURNING))
    return _start(back, "discard", steps.discard(back))


def begin_home(image: Image, event: Any, now: int) -> Decision:
    """The host says that the NAS has all of it."""
    assert image.pending_name is not None
    back = replace(_fresh(_enter(image, RETURNING)), final_guid=event.facts.guid)
    return _start(back, "home", steps.home(back, event.facts.guid or "", image.pending_name))


def begin_leave(image: Image, event: Any, now: int) -> Decision:
    """The host has nothing that is wanted."""
    back = _fresh(_enter(image, RETURNING))
    if image.work is not None and image.work.step == "discard":
        back = back.with_copy(image.owner or "", _pool(image), "clean", image.base_guid)
    return _start(back, "leave", steps.leave(back))


def is_home(image: Image, event: Any, now: int) -> Decision:
    """The NAS has all of it: the host's copy is a cache from here on."""
    based = replace(image, base_name=image.pending_name, base_guid=image.final_guid)
    based = based.with_copy(image.owner or "", _pool(image), "clean", image.final_guid)
    return Decision(_unmapped(based), (), _told((*image.pull_ids, *image.unmap_ids)))


def has_left(image: Image, event: Any, now: int) -> Decision:
    """Nobody has it."""
    return Decision(_unmapped(image), (), _told((*image.pull_ids, *image.unmap_ids)))


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
        copies=copies,
    )


# --- failures, holding, giving up ----------------------------------------------------------------------------------


def _paused(image: Image, before: Image, event: Any, now: int) -> Image:
    tries = before.tries + 1
    faults = before.faults + (0 if FAMILIES[event.family].retry else 1)
    return replace(image, tries=tries, faults=faults, retry_at=now + retry_delay(tries), reason=event.message)


def try_later(image: Image, event: Any, now: int) -> Decision:
    """The same step again, after a pause."""
    return Decision(_paused(image, image, event, now))


def tell_and_try_later(image: Image, event: Any, now: int) -> Decision:
    """The same, and who waits for a map that failed need not wait for the cleaning up."""
    outcomes = _told((image.operation_id,), image.failure_family, image.reason)
    return Decision(replace(_paused(image, image, event, now), operation_id=""), (), outcomes)


def try_again(image: Image, event: Any, now: int) -> Decision:
    """The whole step from its first effect, under a new number."""
    assert image.work is not None
    entered = replace(_enter(image, image.state), held_from=image.held_from)
    return _start(entered, image.work.step, image.work.effects)


def hold(image: Image, event: Any, now: int) -> Decision:
    """An operator must look; the open step stays as it is."""
    return _hold(image, event.family, event.message)


def hold_other_guid(image: Image, event: Any, now: int) -> Decision:
    """What arrived is not what was sent."""
    return _hold(
        image, "incoherent", f"{image.owner} received snapshot {event.facts.guid}, not {image.base_guid}"
    )


def hold_unexpected_changes(image: Image, event: Any, now: int) -> Decision:
    """A map that was never told to anybody has been written to."""
    return _hold(image, "incoherent", f"the map to {image.owner} failed, but something was written there")


def hold_lost(image: Image, event: Any, now: int) -> Decision:
    """Only the NAS's last snapshot is certain."""
    return _hold(image, "host", f"{event.host} is lost: {event.reason}")


def _hold(image: Image, family: str, reason: str) -> Decision:
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids)
    text = f"ZVol {image.zvol} is held, and an operator must look: {reason}"
    held = replace(
        image,
        state=HELD,
        held_from=image.state,
        failure_family=family,
        reason=reason,
        retry_at=None,
        operation_id="",
        unmap_ids=(),
        pull_ids=(),
        covered_ids=(),
    )
    return Decision(held, (), _told(waiting, family, text))


def go_on(image: Image, event: Any, now: int) -> Decision:
    """Where it was; the open step from its first effect."""
    assert image.held_from is not None
    back = _fresh(_enter(image, image.held_from))
    outcomes = _told((event.op_id,))
    if image.work is None:
        return Decision(back, (), outcomes)
    return _start(back, image.work.step, image.work.effects, outcomes)


def begin_abandon(image: Image, event: Any, now: int) -> Decision:
    """A new epoch, so that the lost host is stale when it returns; its copy is never destroyed.

    Whoever waited for that host is told; of a held image nobody does.
    """
    waiting = (image.operation_id, *image.unmap_ids, *image.pull_ids)
    given_up = replace(
        _with_found(image, _enter(image, HELD)),
        epoch=image.epoch + 1,
        held_from=image.held_from if image.state == HELD else image.state,
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
    text = f"ZVol {image.zvol}: what {image.owner} has of it was given up: {event.reason}"
    return _start(given_up, "abandon", steps.abandon(given_up), _told(waiting, "host", text))


def give_up_copies(image: Image, event: Any, now: int) -> Decision:
    """Nobody has the image, but hosts have changes: from here on they count no more, and are kept."""
    given_up = replace(_fresh(_enter(image, UNMAPPED)), epoch=image.epoch + 1, abandon_reason=event.reason)
    for copy in image.copies:
        if copy.kind == "dirty":
            given_up = given_up.with_copy(copy.host, copy.pool, "suspect", copy.guid)
    return Decision(given_up, (), _told((event.op_id,)))


def abandoned(image: Image, event: Any, now: int) -> Decision:
    """The NAS's newest snapshot is the image."""
    return Decision(_unmapped(image), (), _told((image.operation_id,)))


# --- delete, restore -----------------------------------------------------------------------------------------------


def begin_delete(image: Image, event: Any, now: int) -> Decision:
    """First see whether it may be."""
    deleting = replace(
        _fresh(_enter(image, DELETING)), operation_id=event.op_id, due_at=now + event.grace_seconds
    )
    return _start(deleting, "check", steps.check(deleting))


def cannot_delete(image: Image, event: Any, now: int) -> Decision:
    """Others need it."""
    obstacles = ", ".join(event.facts.obstacles or ())
    text = f"Error deleting zvol {image.zvol}: others need it: {obstacles}; remove these first"
    return Decision(_unmapped(image), (), _told((image.operation_id,), "state", text))


def cannot_delete_other(image: Image, event: Any, now: int) -> Decision:
    """By guid, or not at all."""
    text = (
        f"Error deleting zvol {image.zvol}: another volume has the name {image.volume} (guid "
        f"{event.facts.volume_guid}, the image's was {image.volume_guid}); rename that one first"
    )
    return Decision(_unmapped(image), (), _told((image.operation_id,), "incoherent", text))


def operation_failed(image: Image, event: Any, now: int) -> Decision:
    """Nothing was changed."""
    return Decision(_unmapped(image), (), _told((image.operation_id,), event.family, event.message))


def begin_mark(image: Image, event: Any, now: int) -> Decision:
    """Mark it on the volume too."""
    marked = replace(_fresh(_enter(image, DELETING)), volume_guid=event.facts.volume_guid)
    return _start(marked, "mark", steps.mark(marked))


def marked(image: Image, event: Any, now: int) -> Decision:
    """It waits for the end of the grace period."""
    waiting = replace(_fresh(_enter(image, DELETING)), operation_id="")
    return Decision(waiting, (), _told((image.operation_id,)))


def begin_unmark(image: Image, event: Any, now: int) -> Decision:
    """It stays."""
    kept = replace(_fresh(_enter(image, DELETING)), operation_id=event.op_id, due_at=None)
    return _start(kept, "unmark", steps.release(kept))


def operation_done(image: Image, event: Any, now: int) -> Decision:
    """Nobody has it."""
    return Decision(_unmapped(image), (), _told((image.operation_id,)))


def begin_destroy(image: Image, event: Any, now: int) -> Decision:
    """By guid."""
    destroying = _fresh(_enter(image, DELETING))
    return _start(destroying, "destroy", steps.destroy(destroying))


def forget(image: Image, event: Any, now: int) -> Decision:
    """There is no such image any more."""
    return Decision(None, (), _told((image.operation_id,)))


def begin_restore(image: Image, event: Any, now: int) -> Decision:
    """A new epoch: copies on hosts are compared by guid when the image comes to them."""
    restoring = replace(_fresh(_enter(image, RESTORING)), epoch=image.epoch + 1, operation_id=event.op_id)
    effects = steps.restore(restoring, event.snapshot_name, event.snapshot_guid, now)
    restoring = replace(restoring, pending_name=event.snapshot_name, final_guid=event.snapshot_guid)
    return _start(restoring, "restore", effects)


def begin_exchange(image: Image, event: Any, now: int) -> Decision:
    """The snapshot lies beside the volume."""
    exchanging = replace(
        _fresh(_enter(image, RESTORING)), volume_guid=image.volume_guid or event.facts.volume_guid
    )
    effects = steps.exchange(exchanging, image.pending_name or "", image.final_guid or "")
    return _start(exchanging, "exchange", effects)


def restored(image: Image, event: Any, now: int) -> Decision:
    """The chosen snapshot is the base, in a volume of another guid."""
    based = replace(
        image,
        base_name=image.pending_name,
        base_guid=image.final_guid,
        volume_guid=event.facts.volume_guid or image.volume_guid,
    )
    return Decision(_unmapped(based), (), _told((image.operation_id,)))


# --- in every state ------------------------------------------------------------------------------------------------


def configure(image: Image, event: Any, now: int) -> Decision:
    """It counts at the next unmap."""
    return Decision(replace(image, persistent=event.persistent), (), _told((event.op_id,)))


def note_copy(image: Image, event: Any, now: int) -> Decision:
    """The owner's copy is known better from its own answers; another's changes under an old epoch are suspect."""
    if event.host == image.owner:
        return Decision(image)
    known = image.copy_on(event.host)
    kind = event.kind
    is_overtaken = event.copy_epoch < image.epoch or image.owner is not None
    if kind == "dirty" and (is_overtaken or (known is not None and known.kind == "suspect")):
        kind = "suspect"
    return Decision(image.with_copy(event.host, event.pool, kind, event.guid))


def stay(image: Image, event: Any, now: int) -> Decision:
    """Nothing follows."""
    return Decision(image)


def resume_work(image: Image, event: Any, now: int) -> Decision:
    """Do what is open again; a step that waits for its pause, or is held, waits on."""
    if image.work is None or image.retry_at is not None or not is_performing(image):
        return Decision(image)
    return Decision(image, image.work.open_effects)


def is_performing(image: Image) -> bool:
    """Whether the open step of the record is to be done: a held image's is kept, but not done."""
    return image.work is not None and (image.state != HELD or image.work.step == "abandon")
