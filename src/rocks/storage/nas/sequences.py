"""The sequences of the NAS: from a step and the image's record to the effects, in order; pure.

The order ensures safety. A step may end with a request to a host. An effect that needs the facts of an earlier one
belongs to another step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Optional, Tuple

from rocks.storage.image import effects, guards, names
from rocks.storage.image.effects import AskHost, Effect, HostRequest
from rocks.storage.image.image import CopyFact, Image, Step
from rocks.storage.image.state_machine import Sequence, StateMachine

Effects = Tuple[Effect, ...]


def prepare(image: Image, event: Any, now_seconds: int) -> Effects:
    """The grant is recorded on the NAS before the host gets it; then the host reports its copy."""
    assert image.owner is not None
    volume = effects.EnsureVolume(image.volume, image.size_bytes, image.volume_guid)
    base = effects.EnsureBase(image.volume, names.snapshot_name(image.epoch, image.sequence, now_seconds))
    look = _ask(image, effects.LookAtCopy(image.zvol, image.remote_pool))
    return (volume, grant_now(image), base, look) if image.sync else (volume, grant_now(image), look)


def attach_overlay(image: Image, event: Any, now_seconds: int) -> Effects:
    """The base snapshot is exported read only, then the host puts a temp-write volume over it."""
    quarantines = guards.must_quarantine_copy(event.facts.copy or CopyFact(), event.facts)
    needed_bytes = guards.space_needed(image, event.facts)
    assert image.remote_pool is not None and image.target is not None
    request = effects.MapOverlay(
        image.zvol, image.remote_pool, image.target, image.serial, image.size_bytes, quarantines, needed_bytes
    )
    # the volume names the exported snapshot, should the record be lost
    return (grant_now(image), _export(image, image.base_name), _ask(image, request))


def attach_linear(image: Image, event: Any, now_seconds: int) -> Effects:
    """The host's copy equals the image: no export, no transfer."""
    assert image.remote_pool is not None and image.base_guid is not None
    request = effects.MapLinear(image.zvol, image.remote_pool, image.base_guid, image.size_bytes)
    return (_ask(image, request),)


def attach_remote(image: Image, event: Any, now_seconds: int) -> Effects:
    """The volume itself is exported, writable."""
    quarantines = guards.must_quarantine_leftovers(event.facts.copy or CopyFact())
    assert image.target is not None
    request = effects.MapRemote(
        image.zvol, image.remote_pool, image.target, image.serial, image.size_bytes, quarantines
    )
    return (_export(image, None), _ask(image, request))


def undo(image: Image, event: Any, now_seconds: int) -> Effects:
    """The host undoes a map; written data is never dropped."""
    return (_ask(image, effects.DropMap(image.zvol, image.remote_pool, image.target, discards=False)),)


def seed(image: Image, event: Any, now_seconds: int) -> Effects:
    """The host receives the base."""
    assert image.remote_pool and image.base_name and image.base_guid
    request = effects.SeedCopy(image.zvol, image.remote_pool, image.base_name, image.base_guid)
    return (_ask(image, request),)


def switch(image: Image, event: Any, now_seconds: int) -> Effects:
    """The export stays until the host has reported that it reads from its copy and has logged out."""
    assert image.remote_pool and image.base_guid and image.target
    request = effects.SwitchOrigin(image.zvol, image.remote_pool, image.target, image.base_guid)
    return (_ask(image, request),)


def merge(image: Image, event: Any, now_seconds: int) -> Effects:
    """The export is removed before the merge, which may take long.

    From here on a record of the time before is older than the volume.
    """
    assert image.remote_pool is not None
    request = effects.MergeOverlay(image.zvol, image.remote_pool)
    only_hold = effects.EnsureOnlyHold(image.volume, image.base_name, image.base_guid)
    return (*_export_gone(image), only_hold, grant_now(image), _ask(image, request))


def pull(image: Image, event: Any, now_seconds: int) -> Effects:
    """The host sends a snapshot of the running guest's disk."""
    assert image.remote_pool and image.base_guid and image.pending_name
    request = effects.PullCopy(image.zvol, image.remote_pool, image.pending_name, image.base_guid)
    return (_ask(image, request),)


def accept(image: Image, event: Any, now_seconds: int) -> Effects:
    """The NAS verifies that it has the snapshot before the snapshot becomes the base."""
    assert image.pending_name is not None
    guid, name = event.facts.guid or "", image.pending_name
    return (
        effects.VerifyReceived(image.volume, guid),
        effects.EnsureOnlyHold(image.volume, name, guid),
        _grant(image, image.owner, image.state, name, guid),
    )


def settle(image: Image, event: Any, now_seconds: int) -> Effects:
    """Only now the host releases the former base: if the answer to the pull was lost, both sides still have it."""
    assert image.remote_pool and image.base_name
    return (_ask(image, effects.SettleBase(image.zvol, image.remote_pool, image.base_name)),)


def drop(image: Image, event: Any, now_seconds: int) -> Effects:
    """Remove the NAS's disk from a host that has not copied it."""
    discards = image.sync and not image.persistent
    return (_ask(image, effects.DropMap(image.zvol, image.remote_pool, image.target, discards)),)


def detach(image: Image, event: Any, now_seconds: int) -> Effects:
    """Remove the device from the copy, so that no more writes can come."""
    assert image.remote_pool is not None
    return (_ask(image, effects.DetachDevice(image.zvol, image.remote_pool)),)


def return_copy(image: Image, event: Any, now_seconds: int) -> Effects:
    """The final snapshot is taken after the device is gone: never that of an earlier pull.

    There is an export only if an older record, which was lost too, has made it again; as of `discard`.
    """
    assert image.remote_pool and image.base_guid and image.pending_name
    request = effects.ReturnCopy(image.zvol, image.remote_pool, image.pending_name, image.base_guid)
    return (*_export_gone(image), _ask(image, request))


def discard(image: Image, event: Any, now_seconds: int) -> Effects:
    """The image is not persistent: the copy is rolled back to its base, and what a cut pull has brought is dropped."""
    assert image.remote_pool and image.base_guid
    request = effects.DiscardChanges(image.zvol, image.remote_pool, image.base_guid)
    partial_gone = effects.EnsurePartialGone(image.volume, image.base_guid)
    return (*_export_gone(image), partial_gone, _ask(image, request))


def confirm(image: Image, event: Any, now_seconds: int) -> Effects:
    """The NAS verifies that it has the final snapshot before the grant ends."""
    assert image.pending_name is not None
    guid, name = event.facts.guid or "", image.pending_name
    return (
        effects.VerifyReceived(image.volume, guid),
        effects.EnsureOnlyHold(image.volume, name, guid),
        _grant(image, None, "unmapped", name, guid),
    )


def leave(image: Image, event: Any, now_seconds: int) -> Effects:
    """Remove the export, then end the grant; a missing or foreign volume is left alone."""
    hold = effects.EnsureOnlyHold(image.volume, image.base_name, image.base_guid, image.volume_guid)
    return (*_export_gone(image), hold, _released(image))


def abandon(image: Image, event: Any, now_seconds: int) -> Effects:
    """The new epoch is recorded first, so that data of the old one is rejected."""
    return (
        _released(image),
        *_export_gone(image),
        effects.EnsurePartialGone(image.volume),
        # which snapshot is the newest may not have been recorded; the newest is never trimmed
        effects.EnsureOnlyHold(image.volume, None, None, image.volume_guid),
    )


def check(image: Image, event: Any, now_seconds: int) -> Effects:
    """Find the obstacles to the destruction of the volume."""
    return (effects.ReadObstacles(image.volume),)


def mark(image: Image, event: Any, now_seconds: int) -> Effects:
    """Mark the volume itself for destruction. An export is of an older record than the volume's grant."""
    return (
        *_export_gone(image),
        _grant(image, None, "deleting", image.base_name, image.base_guid),
    )


def destroy(image: Image, event: Any, now_seconds: int) -> Effects:
    """Destroy the volume of that guid, unless it has a newer grant than the record."""
    assert image.volume_guid is not None
    return (effects.EnsureVolumeGone(image.volume, image.volume_guid, image.epoch, image.sequence),)


def restore(image: Image, event: Any, now_seconds: int) -> Effects:
    """A snapshot of the present content comes first. This step does not change the volume."""
    safety = names.snapshot_name(image.epoch, image.sequence, now_seconds)
    return (
        effects.EnsureSnapshot(image.volume, safety, image.volume_guid),
        effects.EnsureClone(
            image.volume,
            event.snapshot_name,
            event.snapshot_guid,
            names.restoring_volume(image.volume, image.epoch),
        ),
    )


def exchange(image: Image, event: Any, now_seconds: int) -> Effects:
    """The clone and the volume change places; once begun, this must be completed."""
    assert image.volume_guid is not None
    name, guid = image.pending_name or "", image.final_guid or ""
    former = names.before_volume(image.volume, image.epoch)
    beside = names.restoring_volume(image.volume, image.epoch)
    return (
        effects.EnsureRestored(image.volume, name, guid, former, beside, image.volume_guid),
        effects.EnsureOnlyHold(image.volume, name, guid),
        _grant(image, None, "unmapped", name, guid),
    )


def grow(image: Image, event: Any, now_seconds: int) -> Effects:
    """Only the size changes: the next map takes a snapshot that has it."""
    return (effects.EnsureSize(image.volume, event.size_bytes, image.volume_guid),)


def send(image: Image, event: Any, now_seconds: int) -> Effects:
    """The newest snapshot equals the content; all are sent to the other NAS."""
    assert image.peer is not None and image.peer_pool is not None
    return (
        effects.EnsureVolume(image.volume, 0, image.volume_guid),
        effects.EnsureBase(image.volume, names.snapshot_name(image.epoch, image.sequence, now_seconds)),
        effects.SendToNas(image.volume, image.peer, image.peer_pool),
    )


def hand_over(image: Image, event: Any, now_seconds: int) -> Effects:
    """The volume says first that it is not to be used: a NAS that loses its records then must not export it."""
    assert image.peer is not None
    marked = _grant(image, None, "deleting", image.base_name, image.base_guid)
    left_id = names.left_image_id(image.image_id, image.nas, image.epoch)
    return (
        replace(marked, image_id=left_id),
        effects.HandOver(image.volume, image.peer, image.final_guid or ""),
    )


def release(image: Image, event: Any, now_seconds: int) -> Effects:
    """Mark the volume itself as unmapped."""
    return (_released(image),)


def look(image: Image, event: Any, now_seconds: int) -> Effects:
    """The host that the volume names reports what it has; the grant is written again under a number of its own."""
    volume = effects.EnsureVolume(image.volume, 0, image.volume_guid)
    history = effects.ReadHistory(image.volume)
    is_present = image.target == names.target_name(image.nas, image.zvol, image.epoch)
    # an export of an older grant, which the record was of
    former = () if is_present else _export_gone(image)
    request = effects.LookAtCopy(image.zvol, image.remote_pool)
    return (*former, volume, history, grant_now(image), _ask(image, request))


def grant_now(image: Image) -> effects.EnsureGrant:
    """The grant as the record has it."""
    return _grant(image, image.owner, image.state, image.base_name, image.base_guid)


def _released(image: Image) -> effects.EnsureGrant:
    released = _grant(image, None, "unmapped", image.base_name, image.base_guid)
    return replace(released, only_on=image.volume_guid)


def _grant(
    image: Image, owner: Optional[str], state: str, base_name: Optional[str], base_guid: Optional[str]
) -> effects.EnsureGrant:
    return effects.EnsureGrant(
        image.volume,
        image.epoch,
        image.sequence,
        owner,
        state,
        base_name,
        base_guid,
        image_id=image.image_id,
        initiator=image.initiator,
        sync=image.sync,
        remote_pool=image.remote_pool,
        lease_token=image.lease_token,
        machine=image.machine,
        replaces=image.owner,
        persistent=image.persistent,
    )


def _export(image: Image, snapshot: Optional[str]) -> effects.EnsureExport:
    assert image.target is not None and image.initiator is not None
    return effects.EnsureExport(
        image.volume, snapshot, image.target, image.serial, image.initiator, image.volume_guid
    )


def export_spec(image: Image) -> Optional[effects.EnsureExport]:
    """The export that must exist now; None without one. The daemon restores these exports when it starts."""
    open_effects = () if image.work is None else image.work.open_effects
    if image.target is None or any(isinstance(one, effects.EnsureExportGone) for one in open_effects):
        return None
    return _export(image, image.base_name if image.sync else None)


def _export_gone(image: Image) -> Effects:
    return () if image.target is None else (effects.EnsureExportGone(image.target),)


def _ask(image: Image, request: HostRequest) -> AskHost:
    assert image.owner is not None
    return AskHost(image.owner, request)


SEQUENCES: Dict[Step, Sequence] = {
    "prepare": prepare,
    "attach_overlay": attach_overlay,
    "attach_linear": attach_linear,
    "attach_remote": attach_remote,
    "undo": undo,
    "seed": seed,
    "switch": switch,
    "merge": merge,
    "pull": pull,
    "accept": accept,
    "settle": settle,
    "drop": drop,
    "detach": detach,
    "return": return_copy,
    "confirm": confirm,
    "discard": discard,
    "leave": leave,
    "abandon": abandon,
    "check": check,
    "mark": mark,
    "unmark": release,
    "destroy": destroy,
    "restore": restore,
    "exchange": exchange,
    "look": look,
    "send": send,
    "hand_over": hand_over,
    "grow": grow,
}
"""The effects of every step that a row of the table starts."""

MACHINE = StateMachine(SEQUENCES)
"""The state machine that the daemon runs."""
