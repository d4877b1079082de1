"""A map, until the image is local on its host: the rows of the table and their changes; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Optional, Tuple

from rocks.storage.image import guards, rows
from rocks.storage.image.events import Cancel, Map, StartSeed
from rocks.storage.image.guards import Guard
from rocks.storage.image.image import Decision, Image, Step
from rocks.storage.image.rows import (
    Change,
    Entry,
    RejectionRow,
    Row,
    done,
    enter,
    exported,
    failed,
    fresh,
    into,
    outcomes_of,
    pool_of,
    retried,
    retried_later,
    unmapped,
    with_found,
)
from rocks.storage.image.states import (
    BLOCKED,
    LOCAL,
    MAPPED,
    MAPPING,
    REMOTE,
    RETURNING,
    SEEDING,
    SWITCHING,
    UNMAPPED,
    State,
)
from rocks.storage.image.write_back import begin_unmap, then_unmap

# --- map -----------------------------------------------------------------------------------------------------------


def begin_map(image: Image, event: Any, now: int) -> Decision:
    """A new epoch for the host; reports under an older one are rejected from here on."""
    granted = replace(
        fresh(enter(image, MAPPING)),
        epoch=image.epoch + 1,
        owner=event.host,
        remote_pool=event.remote_pool,
        sync=event.sync,
        initiator=event.initiator,
        lease_token=image.lease_token if event.lease_token is None else event.lease_token,
        machine=image.machine or event.machine,
        size_bytes=_size(image, event),
        device=None,
        pending_name=None,
        operation_id=event.op_id,
    )
    return Decision(granted)


def _size(image: Image, event: Any) -> int:
    """The size of the volume; without one, that of this request, since the disk may have changed after a failed map."""
    known = image.size_bytes if image.volume_guid else event.size_bytes
    return int(known or image.size_bytes or event.size_bytes)


def already_mapped(image: Image, event: Any, now: int) -> Decision:
    """Publish the device again and record the newest lease: the end of a machine under an older one is ignored."""
    tokens = [token for token in (image.lease_token, event.lease_token) if token is not None]
    known = replace(image, lease_token=max(tokens, default=None))
    return Decision(known, outcomes_of((event.op_id,), device=image.device))


def _prepared(image: Image, event: Any) -> Image:
    """The record with the facts about the NAS's volume."""
    facts = event.facts
    return replace(
        fresh(enter(image, MAPPING)),
        size_bytes=facts.size_bytes or image.size_bytes,
        volume_guid=image.volume_guid or facts.volume_guid,
        base_name=facts.base_name or image.base_name,
        base_guid=facts.base_guid or image.base_guid,
    )


def attach_export(image: Image, event: Any, now: int) -> Decision:
    """The host has no copy, an older one, or one that must be quarantined; or the image stays on the NAS."""
    return Decision(exported(_prepared(image, event)))


def attach_linear(image: Image, event: Any, now: int) -> Decision:
    """The host's copy equals the image."""
    return Decision(_prepared(image, event))


def no_free_space(image: Image, event: Any, now: int) -> Decision:
    """Revoke the grant and report the numbers."""
    text = guards.shortage(image, event.facts)
    return _ended(
        _prepared(image, event), "state", f"ZVol {image.zvol} is not mapped to {image.owner}: {text}"
    )


def would_lose_changes(image: Image, event: Any, now: int) -> Decision:
    """Revoke the grant: the copy there needs operator action."""
    text = (
        f"ZVol {image.zvol} is not mapped: {image.owner} has changes on a base that is no longer the "
        f"NAS's newest; see `rocks list host storagesnap`, then run `rocks clean host storagemap`"
    )
    return _ended(_prepared(image, event), "state", text)


def _ended(image: Image, family: str, text: str) -> Decision:
    """Why the map ends without a device; published when all is as before."""
    return Decision(replace(image, failure_family=family, reason=text))


def stop_map(image: Image, event: Any, now: int) -> Decision:
    """The map failed: the row's step undoes what there is of it."""
    text = f"Error attaching iSCSI target to compute node: {event.message}"
    return _ended(_stopped(image), event.family, text)


def cancel_map(image: Image, event: Any, now: int) -> Decision:
    """The map is cancelled by a command: the host undoes it."""
    ended = _ended(_stopped(image), "state", "the mapping was cancelled")
    return replace(ended, outcomes=outcomes_of((event.op_id,)))


def _stopped(image: Image) -> Image:
    """The record of a map that is aborted; a base that it has made is the base from here on."""
    return with_found(image, enter(image, MAPPING))


def undone(image: Image, event: Any, now: int) -> Decision:
    """The host has undone the map."""
    left = replace(enter(image, MAPPING), tries=0, faults=0)
    return Decision(left)


def map_failed(image: Image, event: Any, now: int) -> Decision:
    """All is as before; the failure is published."""
    failed = outcomes_of((image.operation_id,), image.failure_family, image.reason)
    return Decision(unmapped(image), (*failed, *outcomes_of(image.unmap_ids)))


def attached(image: Image, event: Any, now: int) -> Decision:
    """The guest may start."""
    assert image.work is not None
    state = _ATTACHED[image.work.step]
    entered = replace(fresh(enter(image, state)), device=event.facts.device, operation_id="")
    if state == LOCAL:
        entered = entered.with_copy(entered.owner or "", pool_of(image), "dirty", image.base_guid)
    return Decision(entered, outcomes_of((image.operation_id,), device=event.facts.device))


def attached_then_unmap(image: Image, event: Any, now: int) -> Decision:
    """An unmap was requested meanwhile."""
    done = attached(image, event, now)
    assert done.image is not None
    then = begin_unmap(done.image, None, now)
    return replace(then, outcomes=(*done.outcomes, *then.outcomes))


_ATTACHED: Dict[Step, State] = {"attach_overlay": MAPPED, "attach_linear": LOCAL, "attach_remote": REMOTE}

# --- copy, switch, merge -------------------------------------------------------------------------------------------


def begin_seed(image: Image, event: Any, now: int) -> Decision:
    """Earlier failures still count: they are of the same copy."""
    seeding = enter(image, SEEDING).with_copy(image.owner or "", pool_of(image), "partial")
    return Decision(seeding)


def seed_failed(image: Image, event: Any, now: int) -> Decision:
    """Wait for the next slot, after a pause."""
    return Decision(retried_later(enter(image, MAPPED), image, event, now))


def begin_switch(image: Image, event: Any, now: int) -> Decision:
    """The copy will be written to, so it counts as dirty."""
    switching = fresh(enter(image, SWITCHING))
    switching = switching.with_copy(image.owner or "", pool_of(image), "dirty", image.base_guid)
    return Decision(switching)


# --- rows ------------------------------------------------------------------------------------------------------------


def _prepared_row(sentence: str, change: Change, guard: Optional[Guard], starts: Step) -> Row:
    """What follows when the NAS's volume and the host's copy are known."""
    return done(MAPPING, "prepare", MAPPING, sentence, change, guard, starts)


def _attached(step: Step, state: State, back: Step) -> Tuple[Row, ...]:
    """The ends of a step that gives the host a device; `back` takes the device away."""
    return (
        done(
            MAPPING,
            step,
            RETURNING,
            "unmap at once",
            attached_then_unmap,
            guards.UNMAP_WAITS,
            back,
        ),
        done(MAPPING, step, state, "the guest may run", attached),
        failed(MAPPING, step, MAPPING, "undo it on the host", stop_map, starts="undo"),
    )


_ATTACHING: Tuple[Tuple[Step, State, Step], ...] = (
    ("attach_overlay", MAPPED, "drop"),
    ("attach_linear", LOCAL, "detach"),
    ("attach_remote", REMOTE, "drop"),
)


MAP: Tuple[Entry, ...] = (
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not persistent, and without a copy (img_sync no) writes go to the NAS at once; "
        "set img_sync yes for {event.host}, or run rocks set host zvolattr {image.nas} {image.zvol} persistent yes",
        guards.NOT_PERSISTENT_ON_NAS,
        "user",
    ),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped: the lease {event.lease_token} of its virtual machine is older than its last "
        "lease {image.lease_token}",
        guards.OLD_LEASE,
    ),
    RejectionRow(
        UNMAPPED,
        Map,
        "ZVol {image.zvol} is not mapped to {event.host}: changes that the NAS does not have are on "
        "{dirty_pools}; map it there with a copy (img_sync yes), or give them up with rocks clean host storagemap",
        guards.DIRTY_ELSEWHERE,
    ),
    Row(UNMAPPED, Map, MAPPING, "grant a new epoch", begin_map, starts="prepare"),
    _prepared_row("revoke the grant", would_lose_changes, guards.WOULD_LOSE_CHANGES, "leave"),
    _prepared_row("revoke the grant", no_free_space, guards.NO_FREE_SPACE, "leave"),
    _prepared_row("export it writable", attach_export, guards.WITHOUT_COPY, "attach_remote"),
    _prepared_row("no export, no transfer", attach_linear, guards.COPY_AT_BASE, "attach_linear"),
    _prepared_row("export it read only", attach_export, None, "attach_overlay"),
    *(row for ending in _ATTACHING for row in _attached(*ending)),
    failed(
        MAPPING,
        "prepare",
        BLOCKED,
        "another grant is on the volume",
        rows.block,
        guards.GRANT_REFUSED,
    ),
    failed(MAPPING, "prepare", MAPPING, "revoke the grant", stop_map, starts="leave"),
    done(
        MAPPING,
        "undo",
        BLOCKED,
        "needs operator action",
        rows.block_unexpected_changes,
        guards.HAS_CHANGES,
    ),
    done(MAPPING, "undo", MAPPING, "revoke the grant", undone, starts="leave"),
    done(MAPPING, "leave", UNMAPPED, "the map has failed", map_failed),
    failed(MAPPING, "undo", BLOCKED, "needs operator action", rows.block, guards.NO_MORE_TRIES),
    failed(MAPPING, "undo", MAPPING, "again after a pause", rows.publish_and_try_later),
    failed(MAPPING, "leave", BLOCKED, "needs operator action", rows.block, guards.NO_MORE_TRIES),
    failed(MAPPING, "leave", MAPPING, "again after a pause", rows.publish_and_try_later),
    RejectionRow(MAPPING, Cancel, "ZVol {image.zvol}: the mapping is already being undone", guards.UNDOING),
    Row(MAPPING, Cancel, MAPPING, "undo it on the host", cancel_map, starts="undo"),
)


LOCALISE: Tuple[Entry, ...] = (
    Row(MAPPED, StartSeed, SEEDING, "copy it", begin_seed, guards.NO_PAUSE, starts="seed"),
    done(
        SEEDING,
        "seed",
        SWITCHING,
        "switch the guest to the copy",
        begin_switch,
        guards.IS_BASE,
        "switch",
    ),
    done(SEEDING, "seed", BLOCKED, "the received snapshot is another one", rows.block_other_guid),
    failed(SEEDING, "seed", BLOCKED, "needs operator action", rows.block, guards.NO_MORE_TRIES),
    failed(SEEDING, "seed", MAPPED, "go on after a pause", seed_failed),
    done(SWITCHING, "switch", SWITCHING, "drop the export, merge", into(SWITCHING), starts="merge"),
    then_unmap(done, SWITCHING, "merge", "an unmap waits for this"),
    done(SWITCHING, "merge", LOCAL, "the image is independent of the NAS", into(LOCAL)),
    *retried(SWITCHING, "switch", "merge"),
)
