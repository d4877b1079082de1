"""A map, until the image is local on its host: the rows of the table and their changes; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional, Tuple

from rocks.storage.image import guards
from rocks.storage.image.events import Cancel, Map, StartSeed
from rocks.storage.image.guards import Guard
from rocks.storage.image.image import Decision, Image, Step
from rocks.storage.image.rows import (
    Change,
    Entry,
    RejectionRow,
    Row,
    block_other_guid,
    block_unexpected_changes,
    blocked,
    done,
    enter,
    exported,
    failed,
    fresh,
    measured,
    outcomes_of,
    pool_of,
    retried,
    retried_later,
    stay,
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
from rocks.storage.image.write_back import then_unmap

# --- map -----------------------------------------------------------------------------------------------------------


def begin_map(image: Image, event: Any, now: int) -> Image:
    """A new epoch for the host; reports under an older one are rejected from here on."""
    # without a volume, the size of this request counts, since the disk may have changed after a failed map
    known = image.size_bytes if image.volume_guid else event.size_bytes
    return replace(
        image,
        epoch=image.epoch + 1,
        owner=event.host,
        remote_pool=event.remote_pool,
        sync=event.sync,
        initiator=event.initiator,
        lease_token=image.lease_token if event.lease_token is None else event.lease_token,
        machine=image.machine or event.machine,
        size_bytes=int(known or image.size_bytes or event.size_bytes),
        device=None,
        pending_name=None,
        operation_id=event.op_id,
    )


def already_mapped(image: Image, event: Any, now: int) -> Decision:
    """Publish the device again and record the newest lease: the end of a machine under an older one is ignored.

    An unmap that waits is cancelled, or the machine would lose its device; not by a late request under an older lease.
    """
    tokens = [token for token in (image.lease_token, event.lease_token) if token is not None]
    known = replace(image, lease_token=max(tokens, default=None))
    outcomes = outcomes_of((event.op_id,), device=image.device)
    if event.lease_token is None or event.lease_token == known.lease_token:
        text = f"the unmapping of ZVol {image.zvol} was cancelled: its machine is started again"
        outcomes = (*outcomes, *outcomes_of(image.unmap_ids, "state", text))
        known = replace(known, unmap_ids=())
    return Decision(known, outcomes)


def prepared(image: Image, event: Any, now: int) -> Image:
    """The record with the facts about the NAS's volume."""
    facts = event.facts
    return replace(
        measured(image, event, now),
        base_name=facts.base_name or image.base_name,
        base_guid=facts.base_guid or image.base_guid,
    )


def prepared_export(image: Image, event: Any, now: int) -> Image:
    """The host has no copy, an older one, or one that must be quarantined; or the image stays on the NAS."""
    return exported(prepared(image, event, now))


def no_free_space(image: Image, event: Any, now: int) -> Image:
    """The numbers are reported."""
    text = f"ZVol {image.zvol} is not mapped to {image.owner}: {guards.shortage(image, event.facts)}"
    return _ended(prepared(image, event, now), "state", text)


def would_lose_changes(image: Image, event: Any, now: int) -> Image:
    """The copy there needs operator action."""
    text = (
        f"ZVol {image.zvol} is not mapped: {image.owner} has changes on a base that is no longer the "
        f"NAS's newest; see `rocks list host storagesnap`, then run `rocks clean host storagemap`"
    )
    return _ended(prepared(image, event, now), "state", text)


def stop_map(image: Image, event: Any, now: int) -> Image:
    """The map has failed; a base that it has made is the base from here on."""
    return _ended(image, event.family, f"Error attaching iSCSI target to compute node: {event.message}")


def cancel_map(image: Image, event: Any, now: int) -> Decision:
    """Cancel the map, by a command."""
    return Decision(_ended(image, "state", "the mapping was cancelled"), outcomes_of((event.op_id,)))


def _ended(image: Image, family: str, text: str) -> Image:
    """Why the map ends without a device; published when all is as before."""
    return replace(image, failure_family=family, reason=text)


def undone(image: Image, event: Any, now: int) -> Image:
    """The host has undone the map."""
    return replace(image, tries=0, faults=0)


def undone_later(image: Image, event: Any, now: int) -> Decision:
    """The failure of the map is published before it is undone."""
    failed = outcomes_of((image.operation_id,), image.failure_family, image.reason)
    return Decision(replace(retried_later(image, event, now), operation_id=""), failed)


def map_failed(image: Image, event: Any, now: int) -> Decision:
    """All is as before; the failure is published."""
    failed = outcomes_of((image.operation_id,), image.failure_family, image.reason)
    return Decision(unmapped(fresh(image)), (*failed, *outcomes_of(image.unmap_ids)))


def attached(image: Image, event: Any, now: int) -> Decision:
    """The guest may start."""
    known = replace(image, device=event.facts.device, operation_id="")
    return Decision(known, outcomes_of((image.operation_id,), device=event.facts.device))


def attached_copy(image: Image, event: Any, now: int) -> Decision:
    """As `attached`, with the copy as the device."""
    return attached(written(image, event, now), event, now)


# --- copy, switch, merge -------------------------------------------------------------------------------------------


def begin_seed(image: Image, event: Any, now: int) -> Image:
    """The host begins a copy."""
    return image.with_copy(image.owner or "", pool_of(image), "partial")


def written(image: Image, event: Any, now: int) -> Image:
    """The copy will be written to, so it counts as dirty."""
    return image.with_copy(image.owner or "", pool_of(image), "dirty", image.base_guid)


# --- rows ------------------------------------------------------------------------------------------------------------


def _prepared(sentence: str, change: Change, guard: Optional[Guard], starts: Step) -> Row:
    """What follows when the NAS's volume and the host's copy are known."""
    return done(MAPPING, "prepare", MAPPING, sentence, change, guard, starts)


def _attached(step: Step, state: State, change: Change, back: Step) -> Tuple[Row, ...]:
    """The ends of a step that gives the host a device; `back` takes the device away."""
    return (
        done(MAPPING, step, RETURNING, "unmap at once", change, guards.UNMAP_WAITS, back),
        done(MAPPING, step, state, "the guest may run", change),
        failed(MAPPING, step, MAPPING, "undo it on the host", stop_map, starts="undo", enter=with_found),
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
    _prepared("revoke the grant", would_lose_changes, guards.WOULD_LOSE_CHANGES, "leave"),
    _prepared("revoke the grant", no_free_space, guards.NO_FREE_SPACE, "leave"),
    _prepared("export it writable", prepared_export, guards.WITHOUT_COPY, "attach_remote"),
    _prepared("no export, no transfer", prepared, guards.COPY_AT_BASE, "attach_linear"),
    _prepared("export it read only", prepared_export, None, "attach_overlay"),
    *_attached("attach_overlay", MAPPED, attached, "drop"),
    *_attached("attach_linear", LOCAL, attached_copy, "detach"),
    *_attached("attach_remote", REMOTE, attached, "drop"),
    blocked(MAPPING, "prepare", guards.GRANT_REFUSED, "another grant is on the volume"),
    failed(MAPPING, "prepare", MAPPING, "revoke the grant", stop_map, starts="leave", enter=with_found),
    done(
        MAPPING,
        "undo",
        BLOCKED,
        "needs operator action",
        block_unexpected_changes,
        guards.HAS_CHANGES,
        enter=stay,
    ),
    done(MAPPING, "undo", MAPPING, "revoke the grant", undone, starts="leave", enter=enter),
    done(MAPPING, "leave", UNMAPPED, "the map has failed", map_failed, enter=enter),
    blocked(MAPPING, "undo"),
    failed(MAPPING, "undo", MAPPING, "again after a pause", undone_later, enter=stay),
    blocked(MAPPING, "leave"),
    failed(MAPPING, "leave", MAPPING, "again after a pause", undone_later, enter=stay),
    RejectionRow(MAPPING, Cancel, "ZVol {image.zvol}: the mapping is already being undone", guards.UNDOING),
    Row(MAPPING, Cancel, MAPPING, "undo it on the host", cancel_map, starts="undo", enter=with_found),
)


LOCALISE: Tuple[Entry, ...] = (
    # earlier failures still count: they are of the same copy
    Row(MAPPED, StartSeed, SEEDING, "copy it", begin_seed, guards.NO_PAUSE, starts="seed", enter=enter),
    done(SEEDING, "seed", SWITCHING, "switch the guest to the copy", written, guards.IS_BASE, "switch"),
    done(SEEDING, "seed", BLOCKED, "the received snapshot is another one", block_other_guid, enter=stay),
    blocked(SEEDING, "seed"),
    failed(SEEDING, "seed", MAPPED, "go on after a pause", retried_later, enter=enter),
    done(SWITCHING, "switch", SWITCHING, "drop the export, merge", starts="merge"),
    then_unmap(done, SWITCHING, "merge", "an unmap waits for this"),
    done(SWITCHING, "merge", LOCAL, "the image is independent of the NAS"),
    *retried(SWITCHING, "switch", "merge"),
)
