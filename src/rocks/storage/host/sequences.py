"""The sequences of a host: from a request and the stage of its image to a fixed order of effects; pure.

After a crash the open request begins again from the stage that is stored by then, so the order matters. What is done
before it, is at the end of this module.
"""

from __future__ import annotations

from typing import Callable, Dict, Optional, Type, Union

from rocks.storage.host import effects
from rocks.storage.host.effects import HostEffects
from rocks.storage.image import effects as requests
from rocks.storage.image.effects import HostRequest
from rocks.storage.image.image import HostImage, Rejection, Stage, impossible, other_pool


def sequence_for(request: HostRequest, known: HostImage, epoch: int) -> Union[HostEffects, Rejection]:
    """The effects, in order, of a request of `epoch`; a Rejection when the stage does not allow it."""
    if isinstance(request, requests.LookAtCopy):
        # the record may be older than a device, and then the image must not be given to another host
        closed: HostEffects = () if known.stage != "none" else (effects.RequireClosed(request.zvol),)
        return (*closed, effects.ReadCopy(request.zvol, request.pool))
    if isinstance(request, requests.DropMap) and known.stage != "none" and known.epoch < epoch:
        return ()  # the stage is of an older grant, not of the map that failed
    if getattr(request, "quarantines", False) and known.epoch < epoch:
        return _clear(request, known) + _SEQUENCES[type(request)]["none"](request)
    if known.stage != "none" and known.epoch < epoch:
        return Rejection(
            "state", f"{known.zvol}: this host still has epoch {known.epoch} of it ({known.stage})"
        )
    pool = getattr(request, "pool", None) or ""
    if pool and known.pool and pool != known.pool and known.epoch == epoch:
        return other_pool(known, pool)
    build = _SEQUENCES[type(request)].get(known.stage)
    if build is None:
        return impossible(known.zvol, type(request).__name__, known.stage)
    return build(request)


# --- the sequences -------------------------------------------------------------------------------------------------


def _clear(request: HostRequest, known: HostImage) -> HostEffects:
    assert isinstance(request, (requests.MapOverlay, requests.MapRemote))
    pool = request.pool or known.pool
    devices: HostEffects = (
        effects.EnsureDeviceGone(request.zvol),
        effects.EnsureOriginGone(request.zvol),
        effects.EnsureSessionGone(request.zvol, None),
    )
    quarantine: HostEffects = () if pool is None else (effects.EnsureQuarantined(request.zvol, pool),)
    return (*devices, *quarantine, effects.RecordStage("none"))


def _map_overlay(request: requests.MapOverlay) -> HostEffects:
    # the stage comes first, so that a crash leaves no unrecorded devices
    return (
        effects.RecordStage("overlay", request.target, request.serial),
        effects.EnsureSession(request.target, request.serial, request.size_bytes, read_only=True),
        effects.EnsureTempWrite(request.zvol, request.pool, request.size_bytes, request.needed_bytes),
        effects.EnsureRemoteOrigin(request.zvol, request.target),
        effects.EnsureOverlayDevice(request.zvol, request.pool),
    )


def _map_linear(request: requests.MapLinear) -> HostEffects:
    return (
        effects.RequireCopyAt(request.zvol, request.pool, request.base_guid),
        effects.MarkCopy(request.zvol, request.pool, "dirty", request.base_guid),
        effects.RecordStage("linear"),
        effects.EnsureLinearDevice(request.zvol, request.pool),
    )


def _map_linear_again(request: requests.MapLinear) -> HostEffects:
    return (effects.EnsureLinearDevice(request.zvol, request.pool),)


def _map_remote(request: requests.MapRemote) -> HostEffects:
    return (
        effects.RecordStage("remote", request.target, request.serial),
        effects.EnsureSession(request.target, request.serial, request.size_bytes, read_only=False),
    )


def _drop_nothing(request: requests.DropMap) -> HostEffects:
    session: HostEffects = (
        () if request.target is None else (effects.EnsureSessionGone(request.zvol, request.target),)
    )
    if request.pool is None:
        return session
    # a missing record does not prove that nothing was written: it may have been lost
    checked: HostEffects = (
        () if request.discards else (effects.RequireTempWriteEmpty(request.zvol, request.pool),)
    )
    return (
        effects.EnsureDeviceGone(request.zvol),
        *checked,
        effects.EnsureOriginGone(request.zvol),
        *session,
    )


def _drop_overlay(request: requests.DropMap) -> HostEffects:
    pool = request.pool or ""
    checked: HostEffects = () if request.discards else (effects.RequireTempWriteEmpty(request.zvol, pool),)
    return (
        # the device is removed before the check: a guest could have written in between
        effects.EnsureDeviceGone(request.zvol),
        *checked,
        effects.EnsureOriginGone(request.zvol),
        effects.EnsureSessionGone(request.zvol, request.target),
        effects.EnsureTempWriteGone(request.zvol, pool),
        effects.EnsureSeedSettled(request.zvol, pool),
        effects.RecordStage("none"),
    )


def _drop_linear(request: requests.DropMap) -> HostEffects:
    return (
        effects.EnsureDeviceGone(request.zvol),
        # no guest has used it: a host that loses its records must not make the device again
        effects.MarkUnchanged(request.zvol, request.pool or ""),
        effects.RecordStage("none"),
    )


def _drop_remote(request: requests.DropMap) -> HostEffects:
    return (
        effects.RequireUnused(request.zvol),
        effects.EnsureSessionGone(request.zvol, request.target),
        effects.RecordStage("none"),
    )


def _seed(request: requests.SeedCopy) -> HostEffects:
    return (
        effects.EnsureSeedPlace(request.zvol, request.pool, request.base_guid),
        effects.ReceiveSeed(request.zvol, request.pool, request.base_guid),
        effects.EnsureSeedNamed(request.zvol, request.pool, request.base_guid),
    )


def _switch(request: requests.SwitchOrigin) -> HostEffects:
    return (
        effects.RequireCopyAt(request.zvol, request.pool, request.base_guid),
        effects.MarkCopy(request.zvol, request.pool, "dirty", request.base_guid),
        # a restart must not read from the NAS again once a merge may have begun
        effects.RecordStage("merging"),
        effects.EnsureLocalOrigin(request.zvol, request.pool),
        effects.EnsureSessionGone(request.zvol, request.target),
    )


def _switch_again(request: requests.SwitchOrigin) -> HostEffects:
    return (
        effects.EnsureLocalOrigin(request.zvol, request.pool),
        effects.EnsureSessionGone(request.zvol, request.target),
    )


def _merge(request: requests.MergeOverlay) -> HostEffects:
    return (
        effects.EnsureMergeDevice(request.zvol, request.pool),
        effects.WaitMerged(request.zvol),
        effects.RecordStage("linear"),
        *_merge_tail(request),
    )


def _merge_tail(request: requests.MergeOverlay) -> HostEffects:
    return (
        effects.EnsureLinearDevice(request.zvol, request.pool),
        effects.EnsureOriginGone(request.zvol),
        # a record that comes back from before would wait for the temp-write volume
        effects.MarkMerged(request.zvol, request.pool),
        effects.EnsureTempWriteGone(request.zvol, request.pool),
    )


def _pull(request: requests.PullCopy) -> HostEffects:
    return (
        effects.SnapshotCopy(request.zvol, request.pool, request.name),
        effects.SendSnapshot(request.zvol, request.pool, request.name),
    )


def _settle(request: requests.SettleBase) -> HostEffects:
    return (effects.AdvanceBase(request.zvol, request.pool, request.name),)


def _detach(request: requests.DetachDevice) -> HostEffects:
    return (effects.EnsureDeviceGone(request.zvol), effects.RecordStage("none"))


def _detach_again(request: requests.DetachDevice) -> HostEffects:
    """No device is recorded. The records may be from a backup, and a guest may use one all the same."""
    return (effects.EnsureDeviceGone(request.zvol),)


def _return(request: requests.ReturnCopy) -> HostEffects:
    return (
        effects.EnsureDeviceGone(request.zvol),  # as `_detach_again`
        effects.SnapshotCopy(request.zvol, request.pool, request.name),
        effects.SendSnapshot(request.zvol, request.pool, request.name),
        effects.AdvanceBase(request.zvol, request.pool, request.name),
        effects.MarkCopy(request.zvol, request.pool, "clean", None),
    )


def _return_detached(request: requests.ReturnCopy) -> HostEffects:
    """The host has lost its record after the device was removed, and has made it again: a guest may have run on it."""
    return (
        effects.EnsureDeviceGone(request.zvol),
        effects.RequireAllInSnapshot(request.zvol, request.pool, request.name),
        effects.RecordStage("none"),
        *_return(request),
    )


def _discard_detached(request: requests.DiscardChanges) -> HostEffects:
    """The same."""
    return (effects.EnsureDeviceGone(request.zvol), effects.RecordStage("none"), *_discard(request))


def _discard(request: requests.DiscardChanges) -> HostEffects:
    return (
        effects.EnsureDeviceGone(request.zvol),  # as `_detach_again`
        effects.RollBack(request.zvol, request.pool, request.base_guid),
        effects.MarkCopy(request.zvol, request.pool, "clean", request.base_guid),
    )


_SEQUENCES: Dict[Type[object], Dict[Stage, Callable[..., HostEffects]]] = {
    requests.MapOverlay: {"none": _map_overlay, "overlay": _map_overlay},
    requests.MapLinear: {"none": _map_linear, "linear": _map_linear_again},
    requests.MapRemote: {"none": _map_remote, "remote": _map_remote},
    requests.DropMap: {
        "none": _drop_nothing,
        "overlay": _drop_overlay,
        "linear": _drop_linear,
        "remote": _drop_remote,
    },
    requests.SeedCopy: {"overlay": _seed},
    requests.SwitchOrigin: {"overlay": _switch, "merging": _switch_again, "linear": _switch_again},
    requests.MergeOverlay: {"merging": _merge, "linear": _merge_tail},
    requests.PullCopy: {"linear": _pull},
    requests.SettleBase: {"linear": _settle},
    requests.DetachDevice: {"linear": _detach, "none": _detach_again},
    requests.ReturnCopy: {"none": _return, "linear": _return_detached},
    requests.DiscardChanges: {"none": _discard, "linear": _discard_detached},
}
"""Request → stage → sequence; a missing stage rejects the request."""


# --- after a crash of the daemon, or a reboot: each stage's devices are built again first ----------------------------


def ends_rebuild(request: Optional[HostRequest]) -> bool:
    """Whether a request builds or removes all devices that a rebuild would make, so no rebuild is needed."""
    return isinstance(
        request, (requests.MapOverlay, requests.MapLinear, requests.MapRemote, requests.DropMap)
    )


def rebuild_effects(known: HostImage, open_request: Optional[HostRequest]) -> HostEffects:
    """The effects that a host performs first when it starts, so that guests can go on.

    Empty for an image that is being mapped or unmapped: no guest uses it, and the open request builds or removes the
    devices. A rebuild that waits for the NAS is repeated and delays no request; it ends when a stage is recorded, since
    the request builds the other devices.
    """
    zvol, pool = known.zvol, known.pool or ""
    if ends_rebuild(open_request):
        return ()
    if known.stage == "overlay":
        assert known.target is not None and known.serial is not None
        return (
            effects.EnsureSession(known.target, known.serial, known.size_bytes, read_only=True),
            effects.RequireTempWrite(zvol, pool),
            effects.EnsureRemoteOrigin(zvol, known.target),
            effects.EnsureOverlayDevice(zvol, pool),
        )
    if known.stage == "merging":
        return (
            effects.RequireTempWrite(zvol, pool),
            effects.EnsureLocalOrigin(zvol, pool),
            effects.EnsureMergeDevice(zvol, pool),
        )
    if known.stage == "linear":
        return (effects.EnsureLinearDevice(zvol, pool),)
    if known.stage == "remote":
        assert known.target is not None and known.serial is not None
        return (effects.EnsureSession(known.target, known.serial, known.size_bytes, read_only=False),)
    return ()
