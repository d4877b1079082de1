"""The sequences of a host: from a request and the stage of its image to a fixed order of effects; pure.

After a crash the open request begins again from the stage that is stored by then, so the order matters. What is done
before it, is at the end of this module.
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple, Type, Union

from rocks.storage.host.effects import HostEffects, Name, RecordStage
from rocks.storage.image import effects as requests
from rocks.storage.image.effects import HostRequest
from rocks.storage.image.image import HostImage, Rejection, Stage, impossible, other_pool


def sequence_for(request: HostRequest, known: HostImage, epoch: int) -> Union[HostEffects, Rejection]:
    """The effects, in order, of a request of `epoch`; a Rejection when the stage does not allow it."""
    if isinstance(request, requests.LookAtCopy):
        # the record may be older than a device, and then the image must not be given to another host
        return ("ReadCopy",) if known.stage != "none" else ("RequireClosed", "ReadCopy")
    if isinstance(request, requests.DropMap) and known.stage != "none" and known.epoch < epoch:
        return ()  # the stage is of an older grant, not of the map that failed
    if getattr(request, "quarantines", False) and known.epoch < epoch:
        return _clear(request, known) + _SEQUENCES[type(request)]["none"]
    if known.stage != "none" and known.epoch < epoch:
        return Rejection(
            "state", f"{known.zvol}: this host still has epoch {known.epoch} of it ({known.stage})"
        )
    pool = getattr(request, "pool", None) or ""
    if pool and known.pool and pool != known.pool and known.epoch == epoch:
        return other_pool(known, pool)
    found = _SEQUENCES[type(request)].get(known.stage)
    if found is None:
        return impossible(known.zvol, type(request).__name__, known.stage)
    return _without_needless(request, known.stage, found) if isinstance(request, requests.DropMap) else found


# --- the sequences -------------------------------------------------------------------------------------------------


def _clear(request: HostRequest, known: HostImage) -> HostEffects:
    has_pool = getattr(request, "pool", None) or known.pool
    quarantine: HostEffects = ("EnsureQuarantined",) if has_pool else ()
    return ("EnsureDeviceGone", "EnsureOriginGone", "EnsureSessionsGone", *quarantine, RecordStage("none"))


def _without_needless(request: requests.DropMap, stage: Stage, found: HostEffects) -> HostEffects:
    needless: Tuple[Name, ...] = ("RequireTempWriteEmpty",) if request.discards else ()
    if stage == "none" and request.target is None:
        needless += ("EnsureSessionGone",)
    if stage == "none" and request.pool is None:
        needless += ("EnsureDeviceGone", "RequireTempWriteEmpty", "EnsureOriginGone")
    return tuple(effect for effect in found if effect not in needless)


_MAP_OVERLAY: HostEffects = (
    RecordStage("overlay"),  # first, so that a crash leaves no unrecorded devices
    "EnsureSession",
    "EnsureTempWrite",
    "EnsureRemoteOrigin",
    "EnsureOverlayDevice",
)
_MAP_REMOTE: HostEffects = (RecordStage("remote"), "EnsureSession")
_SWITCH: HostEffects = ("EnsureLocalOrigin", "EnsureSessionGone")
_MERGED: HostEffects = (
    "EnsureLinearDevice",
    "EnsureOriginGone",
    # a record that comes back from before would wait for the temp-write volume
    "MarkMerged",
    "EnsureTempWriteGone",
)
_RETURN: HostEffects = (
    "EnsureDeviceGone",  # as of DetachDevice
    "SnapshotCopy",
    "SendSnapshot",
    "AdvanceBase",
    "MarkClean",
)
_DISCARD: HostEffects = ("EnsureDeviceGone", "RollBack", "MarkClean")

_SEQUENCES: Dict[Type[object], Dict[Stage, HostEffects]] = {
    requests.MapOverlay: {"none": _MAP_OVERLAY, "overlay": _MAP_OVERLAY},
    requests.MapLinear: {
        "none": ("RequireCopyAt", "MarkDirty", RecordStage("linear"), "EnsureLinearDevice"),
        "linear": ("EnsureLinearDevice",),
    },
    requests.MapRemote: {"none": _MAP_REMOTE, "remote": _MAP_REMOTE},
    requests.DropMap: {
        # a missing record does not prove that nothing was written: it may have been lost
        "none": ("EnsureDeviceGone", "RequireTempWriteEmpty", "EnsureOriginGone", "EnsureSessionGone"),
        "overlay": (
            # the device is removed before the check: a guest could have written in between
            "EnsureDeviceGone",
            "RequireTempWriteEmpty",
            "EnsureOriginGone",
            "EnsureSessionGone",
            "EnsureTempWriteGone",
            "EnsureSeedSettled",
            RecordStage("none"),
        ),
        # no guest has used it: a host that loses its records must not make the device again
        "linear": ("EnsureDeviceGone", "MarkUnchanged", RecordStage("none")),
        "remote": ("RequireUnused", "EnsureSessionGone", RecordStage("none")),
    },
    requests.SeedCopy: {"overlay": ("EnsureSeedPlace", "ReceiveSeed", "EnsureSeedNamed")},
    requests.SwitchOrigin: {
        # a restart must not read from the NAS again once a merge may have begun
        "overlay": ("RequireCopyAt", "MarkDirty", RecordStage("merging"), *_SWITCH),
        "merging": _SWITCH,
        "linear": _SWITCH,
    },
    requests.MergeOverlay: {
        "merging": ("EnsureMergeDevice", "WaitMerged", RecordStage("linear"), *_MERGED),
        "linear": _MERGED,
    },
    requests.PullCopy: {"linear": ("SnapshotCopy", "SendSnapshot")},
    requests.SettleBase: {"linear": ("AdvanceBase",)},
    requests.DetachDevice: {
        "linear": ("EnsureDeviceGone", RecordStage("none")),
        # no device is recorded, but the records may be from a backup, and a guest may use one all the same
        "none": ("EnsureDeviceGone",),
    },
    requests.ReturnCopy: {
        "none": _RETURN,
        # the host has lost its record after the device was removed, and has made it again: a guest may have run on it
        "linear": ("EnsureDeviceGone", "RequireAllInSnapshot", RecordStage("none"), *_RETURN),
    },
    requests.DiscardChanges: {
        "none": _DISCARD,
        "linear": ("EnsureDeviceGone", RecordStage("none"), *_DISCARD),
    },
}
"""Request → stage → sequence; a missing stage rejects the request."""


# --- after a crash of the daemon, or a reboot: each stage's devices are built again first ----------------------------


def ends_rebuild(request: Optional[HostRequest]) -> bool:
    """Whether a request builds or removes all devices that a rebuild would make, so no rebuild is needed."""
    return isinstance(
        request, (requests.MapOverlay, requests.MapLinear, requests.MapRemote, requests.DropMap)
    )


_REBUILDS: Dict[Stage, Tuple[Name, ...]] = {
    "none": (),
    "overlay": ("EnsureSession", "RequireTempWrite", "EnsureRemoteOrigin", "EnsureOverlayDevice"),
    "merging": ("RequireTempWrite", "EnsureLocalOrigin", "EnsureMergeDevice"),
    "linear": ("EnsureLinearDevice",),
    "remote": ("EnsureSession",),
}


def rebuild_effects(known: HostImage, open_request: Optional[HostRequest]) -> Tuple[Name, ...]:
    """The effects that a host performs first when it starts, so that guests can go on.

    Empty for an image that is being mapped or unmapped: no guest uses it, and the open request builds or removes the
    devices. A rebuild that waits for the NAS is repeated and delays no request; it ends when a stage is recorded, since
    the request builds the other devices.
    """
    return () if ends_rebuild(open_request) else _REBUILDS[known.stage]
