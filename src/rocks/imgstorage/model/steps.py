"""What each step does, in order: from the record to its effects. The order is the safety; pure.

A step ends with what a host is asked, if anything; where an effect needs what an earlier one found, a step begins.
"""

from __future__ import annotations

from typing import Optional, Tuple

from rocks.imgstorage.model import effects, names
from rocks.imgstorage.model.effects import AskHost, Effect, HostRequest
from rocks.imgstorage.model.image import Image

Effects = Tuple[Effect, ...]


def prepare(image: Image, now_seconds: int) -> Effects:
    """The grant stands on the NAS before the host hears of it; then see what the host has."""
    assert image.owner is not None
    volume = effects.EnsureVolume(image.volume, image.size_bytes, image.volume_guid)
    base = effects.EnsureBase(image.volume, names.snapshot_name(image.epoch, image.sequence, now_seconds))
    look = _ask(image, effects.LookAtCopy(image.zvol, image.remote_pool))
    return (volume, _lease(image), base, look) if image.sync else (volume, _lease(image), look)


def attach_overlay(image: Image, sets_aside: bool, room_bytes: int) -> Effects:
    """The base snapshot is exported read only, then the host puts a temp-write volume over it."""
    assert image.remote_pool is not None and image.target is not None
    request = effects.MapOverlay(
        image.zvol, image.remote_pool, image.target, image.serial, image.size_bytes, sets_aside, room_bytes
    )
    return (_export(image, image.base_name), _ask(image, request))


def attach_linear(image: Image) -> Effects:
    """The host's copy is the image already: no export, no transfer."""
    assert image.remote_pool is not None and image.base_guid is not None
    request = effects.MapLinear(image.zvol, image.remote_pool, image.base_guid, image.size_bytes)
    return (_ask(image, request),)


def attach_remote(image: Image, sets_aside: bool) -> Effects:
    """The volume itself is exported, writable."""
    assert image.target is not None
    request = effects.MapRemote(
        image.zvol, image.remote_pool, image.target, image.serial, image.size_bytes, sets_aside
    )
    return (_export(image, None), _ask(image, request))


def undo(image: Image) -> Effects:
    """The host takes back what a map gave; nothing that was written is dropped."""
    return (_ask(image, effects.DropMap(image.zvol, image.remote_pool, image.target, discards=False)),)


def seed(image: Image) -> Effects:
    """The host receives the base."""
    assert image.remote_pool and image.base_name and image.base_guid
    request = effects.SeedCopy(image.zvol, image.remote_pool, image.base_name, image.base_guid)
    return (_ask(image, request),)


def switch(image: Image) -> Effects:
    """The export stays until the host has said that it reads from its copy and has logged out."""
    assert image.remote_pool and image.base_guid and image.target
    request = effects.SwitchOrigin(image.zvol, image.remote_pool, image.target, image.base_guid)
    return (_ask(image, request),)


def merge(image: Image) -> Effects:
    """The NAS is free of the image before the merge, which may take long."""
    assert image.remote_pool is not None
    request = effects.MergeOverlay(image.zvol, image.remote_pool)
    return (*_export_gone(image), *_only_hold(image), _ask(image, request))


def pull(image: Image, name: str) -> Effects:
    """The host sends a snapshot of the running guest's disk."""
    assert image.remote_pool and image.base_guid
    return (_ask(image, effects.PullCopy(image.zvol, image.remote_pool, name, image.base_guid)),)


def accept(image: Image, guid: str, name: str) -> Effects:
    """What the host says to have sent is looked for on the NAS before it becomes the base."""
    return (
        effects.VerifyReceived(image.volume, guid),
        effects.EnsureOnlyHold(image.volume, name, guid),
        effects.EnsureLease(image.volume, image.epoch, image.owner, image.state, guid),
    )


def settle(image: Image) -> Effects:
    """Only now does the host let go of the base before: should the answer to the pull be lost, both still have that."""
    assert image.remote_pool and image.base_name
    return (_ask(image, effects.SettleBase(image.zvol, image.remote_pool, image.base_name)),)


def drop(image: Image) -> Effects:
    """Take the NAS's disk away from a host that has not copied it."""
    discards = image.sync and not image.persistent
    return (_ask(image, effects.DropMap(image.zvol, image.remote_pool, image.target, discards)),)


def detach(image: Image) -> Effects:
    """Take the device away from the copy, so that nothing is written to it any more."""
    assert image.remote_pool is not None
    return (_ask(image, effects.DetachDevice(image.zvol, image.remote_pool)),)


def return_copy(image: Image, now_seconds: int) -> Effects:
    """A snapshot of its own, taken after the device has gone: never an earlier pull's."""
    assert image.remote_pool and image.base_guid
    name = names.snapshot_name(image.epoch, image.sequence, now_seconds)
    return (_ask(image, effects.ReturnCopy(image.zvol, image.remote_pool, name, image.base_guid)),)


def discard(image: Image) -> Effects:
    """The image is not persistent: the copy goes back to its base."""
    assert image.remote_pool and image.base_guid
    return (_ask(image, effects.DiscardChanges(image.zvol, image.remote_pool, image.base_guid)),)


def home(image: Image, guid: str, name: str) -> Effects:
    """Only what is proved to be on the NAS ends the grant."""
    return (
        effects.VerifyReceived(image.volume, guid),
        effects.EnsureOnlyHold(image.volume, name, guid),
        effects.EnsureLease(image.volume, image.epoch, None, "unmapped", guid),
    )


def leave(image: Image) -> Effects:
    """The export goes, then the grant; of a volume that is missing, or another's, there is nothing to be let go."""
    hold = effects.EnsureOnlyHold(image.volume, image.base_name, image.base_guid, image.volume_guid)
    return (*_export_gone(image), hold, _released(image))


def abandon(image: Image) -> Effects:
    """The new epoch stands first, so that nothing of the old one is taken any more."""
    return (
        _released(image),
        *_export_gone(image),
        effects.EnsurePartialGone(image.volume),
        # which snapshot is the newest may not have been recorded; the newest is never trimmed
        effects.EnsureOnlyHold(image.volume, None, None, image.volume_guid),
    )


def check(image: Image) -> Effects:
    """May it be destroyed at all?"""
    return (effects.ReadObstacles(image.volume),)


def mark(image: Image) -> Effects:
    """The volume itself says that it is to be destroyed."""
    return (effects.EnsureLease(image.volume, image.epoch, None, "deleting", image.base_guid),)


def destroy(image: Image) -> Effects:
    """Destroy the volume of that guid."""
    assert image.volume_guid is not None
    return (effects.EnsureVolumeGone(image.volume, image.volume_guid),)


def restore(image: Image, name: str, guid: str, now_seconds: int) -> Effects:
    """A snapshot of what is there now comes first. Until this step has ended, nothing of the volume is changed."""
    safety = names.snapshot_name(image.epoch, image.sequence, now_seconds)
    return (
        effects.EnsureSnapshot(image.volume, safety, image.volume_guid),
        effects.EnsureClone(image.volume, name, guid, names.restoring_volume(image.volume, image.epoch)),
    )


def exchange(image: Image, name: str, guid: str) -> Effects:
    """The clone and the volume change places; begun, this must come to its end."""
    assert image.volume_guid is not None
    aside = names.before_volume(image.volume, image.epoch)
    beside = names.restoring_volume(image.volume, image.epoch)
    return (
        effects.EnsureRestored(image.volume, name, guid, aside, beside, image.volume_guid),
        effects.EnsureOnlyHold(image.volume, name, guid),
        effects.EnsureLease(image.volume, image.epoch, None, "unmapped", guid),
    )


def release(image: Image) -> Effects:
    """The volume itself says that nobody has it."""
    return (_released(image),)


def _lease(image: Image) -> effects.EnsureLease:
    return effects.EnsureLease(image.volume, image.epoch, image.owner, image.state, image.base_guid)


def _released(image: Image) -> effects.EnsureLease:
    return effects.EnsureLease(
        image.volume, image.epoch, None, "unmapped", image.base_guid, image.volume_guid
    )


def _export(image: Image, snapshot: Optional[str]) -> effects.EnsureExport:
    assert image.target is not None and image.initiator is not None
    return effects.EnsureExport(image.volume, snapshot, image.target, image.serial, image.initiator)


def export_spec(image: Image) -> Optional[effects.EnsureExport]:
    """The export that must exist now. The daemon makes all of these when it starts, before anything else, since
    what LIO knows does not survive a reboot; an export of ours that is not wanted goes."""
    open_effects = () if image.work is None else image.work.open_effects
    if image.target is None or any(isinstance(one, effects.EnsureExportGone) for one in open_effects):
        return None
    return _export(image, image.base_name if image.sync else None)


def _export_gone(image: Image) -> Effects:
    return () if image.target is None else (effects.EnsureExportGone(image.target),)


def _only_hold(image: Image) -> Effects:
    return (effects.EnsureOnlyHold(image.volume, image.base_name, image.base_guid),)


def _ask(image: Image, request: HostRequest) -> AskHost:
    assert image.owner is not None
    return AskHost(image.owner, request)
