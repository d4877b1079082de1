"""The host's side: what is asked of it, and the stage of the image there, to a fixed order of effects; pure.

The host decides nothing else. It journals a request before the first effect, remembers the answer after the last, and
gives the same answer to the same request again. After a crash it begins the open request again, from the stage that is
stored by then: effects look first and act if they must; done twice they change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Type, Union

from rocks.imgstorage.model import effects as asked
from rocks.imgstorage.model.effects import HostRequest
from rocks.imgstorage.model.facts import Stage
from rocks.imgstorage.model.host_effects import (
    AdvanceBase,
    EnsureDeviceGone,
    EnsureLinearDevice,
    EnsureLocalOrigin,
    EnsureMergeDevice,
    EnsureOriginGone,
    EnsureOverlayDevice,
    EnsureRemoteOrigin,
    EnsureSeedNamed,
    EnsureSeedPlace,
    EnsureSeedSettled,
    EnsureSession,
    EnsureSessionGone,
    EnsureSetAside,
    EnsureTempWrite,
    EnsureTempWriteGone,
    EnsureUnused,
    HostEffects,
    MarkCopy,
    ReadCopy,
    ReceiveSeed,
    RecordStage,
    RequireCopyAt,
    RequireTempWrite,
    RequireTempWriteEmpty,
    RollBack,
    SendSnapshot,
    SnapshotCopy,
    WaitMerged,
)
from rocks.imgstorage.model.image import Refusal

# --- the record ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostImage:
    """What a host stores of one image: its stage, and what a rebuild needs.

    `epoch` is the grant under which the stage was recorded; `last_epoch` and `last_sequence` are of the newest request
    that was taken on.
    """

    zvol: str
    pool: Optional[str] = None
    epoch: int = 0
    last_epoch: int = 0
    last_sequence: int = 0
    stage: Stage = "none"
    target: Optional[str] = None
    serial: Optional[str] = None
    size_bytes: int = 0


def check_order(known: HostImage, epoch: int, sequence: int) -> Optional[Refusal]:
    """None when a request may be taken on: not from an older epoch, not overtaken by a newer request.

    One with the number of the newest is the same again: it goes on, or its answer is given again.
    """
    if (epoch, sequence) >= (known.last_epoch, known.last_sequence):
        return None
    return Refusal(
        "state", f"stale_epoch: {known.zvol}: request {epoch}-{sequence} was overtaken", is_stale=True
    )


def sequence_for(request: HostRequest, known: HostImage, epoch: int) -> Union[HostEffects, Refusal]:
    """What the host does, in order, for a request of `epoch`; a Refusal when the stage does not allow it."""
    if isinstance(request, asked.LookAtCopy):
        return (ReadCopy(request.zvol, request.pool),)
    if isinstance(request, asked.DropMap) and known.stage != "none" and known.epoch < epoch:
        return ()  # what is there is of an older grant: a map that failed has not made it
    if getattr(request, "sets_aside", False) and known.epoch < epoch:
        return _clear(request, known) + _SEQUENCES[type(request)]["none"](request)
    if known.stage != "none" and known.epoch < epoch:
        return Refusal(
            "state", f"{known.zvol}: this host still has it of epoch {known.epoch} ({known.stage})"
        )
    build = _SEQUENCES[type(request)].get(known.stage)
    if build is None:
        return Refusal(
            "incoherent", f"{known.zvol}: {type(request).__name__} is not possible when it is {known.stage}"
        )
    return build(request)


def ends_rebuild(request: Optional[HostRequest]) -> bool:
    """Whether a request builds or removes all that a rebuild would make, so that taking it on ends a rebuild."""
    return isinstance(request, (asked.MapOverlay, asked.MapLinear, asked.MapRemote, asked.DropMap))


def rebuild_effects(known: HostImage, open_request: Optional[HostRequest]) -> HostEffects:
    """What a host does when it starts, before anything else, so that guests can go on.

    Nothing for an image that was just being mapped, or whose map was just being dropped: no guest was told of it, and
    the open request itself, begun again, builds or removes what is missing. A rebuild that waits for the NAS is tried
    again and again and keeps no request waiting; it ends when a stage is recorded, since the request builds the rest.
    """
    zvol, pool = known.zvol, known.pool or ""
    if ends_rebuild(open_request):
        return ()
    if known.stage == "overlay":
        assert known.target is not None and known.serial is not None
        return (
            EnsureSession(known.target, known.serial, known.size_bytes, read_only=True),
            RequireTempWrite(zvol, pool),
            EnsureRemoteOrigin(zvol, known.target),
            EnsureOverlayDevice(zvol, pool),
        )
    if known.stage == "merging":
        return (RequireTempWrite(zvol, pool), EnsureLocalOrigin(zvol, pool), EnsureMergeDevice(zvol, pool))
    if known.stage == "linear":
        return (EnsureLinearDevice(zvol, pool),)
    if known.stage == "remote":
        assert known.target is not None and known.serial is not None
        return (EnsureSession(known.target, known.serial, known.size_bytes, read_only=False),)
    return ()


# --- the sequences -------------------------------------------------------------------------------------------------


def _clear(request: HostRequest, known: HostImage) -> HostEffects:
    assert isinstance(request, (asked.MapOverlay, asked.MapRemote))
    pool = request.pool or known.pool
    devices: HostEffects = (
        EnsureDeviceGone(request.zvol),
        EnsureOriginGone(request.zvol),
        EnsureSessionGone(request.zvol, None),
    )
    aside: HostEffects = () if pool is None else (EnsureSetAside(request.zvol, pool),)
    return (*devices, *aside, RecordStage("none"))


def _map_overlay(request: asked.MapOverlay) -> HostEffects:
    # the stage comes first: what a crash leaves half made is then known to be there, and dropped or completed
    return (
        RecordStage("overlay", request.target, request.serial),
        EnsureSession(request.target, request.serial, request.size_bytes, read_only=True),
        EnsureTempWrite(request.zvol, request.pool, request.size_bytes, request.room_bytes),
        EnsureRemoteOrigin(request.zvol, request.target),
        EnsureOverlayDevice(request.zvol, request.pool),
    )


def _map_linear(request: asked.MapLinear) -> HostEffects:
    return (
        RequireCopyAt(request.zvol, request.pool, request.base_guid),
        MarkCopy(request.zvol, request.pool, "dirty", request.base_guid),
        RecordStage("linear"),
        EnsureLinearDevice(request.zvol, request.pool),
    )


def _map_linear_again(request: asked.MapLinear) -> HostEffects:
    return (EnsureLinearDevice(request.zvol, request.pool),)


def _map_remote(request: asked.MapRemote) -> HostEffects:
    return (
        RecordStage("remote", request.target, request.serial),
        EnsureSession(request.target, request.serial, request.size_bytes, read_only=False),
    )


def _drop_nothing(request: asked.DropMap) -> HostEffects:
    session: HostEffects = (
        () if request.target is None else (EnsureSessionGone(request.zvol, request.target),)
    )
    if request.pool is None:
        return session
    # no record is no proof that nothing was written: it may have been lost
    checked: HostEffects = () if request.discards else (RequireTempWriteEmpty(request.zvol, request.pool),)
    return (EnsureDeviceGone(request.zvol), *checked, EnsureOriginGone(request.zvol), *session)


def _drop_overlay(request: asked.DropMap) -> HostEffects:
    pool = request.pool or ""
    checked: HostEffects = () if request.discards else (RequireTempWriteEmpty(request.zvol, pool),)
    return (
        # the device goes before the look: a guest that came and went in between would have written
        EnsureDeviceGone(request.zvol),
        *checked,
        EnsureOriginGone(request.zvol),
        EnsureSessionGone(request.zvol, request.target),
        EnsureTempWriteGone(request.zvol, pool),
        EnsureSeedSettled(request.zvol, pool),
        RecordStage("none"),
    )


def _drop_linear(request: asked.DropMap) -> HostEffects:
    return (EnsureDeviceGone(request.zvol), RecordStage("none"))


def _drop_remote(request: asked.DropMap) -> HostEffects:
    return (
        EnsureUnused(request.zvol),
        EnsureSessionGone(request.zvol, request.target),
        RecordStage("none"),
    )


def _seed(request: asked.SeedCopy) -> HostEffects:
    return (
        EnsureSeedPlace(request.zvol, request.pool, request.base_guid),
        ReceiveSeed(request.zvol, request.pool, request.base_name, request.base_guid),
        EnsureSeedNamed(request.zvol, request.pool, request.base_name, request.base_guid),
    )


def _switch(request: asked.SwitchOrigin) -> HostEffects:
    return (
        RequireCopyAt(request.zvol, request.pool, request.base_guid),
        MarkCopy(request.zvol, request.pool, "dirty", request.base_guid),
        # what a restart builds from here on is local: it must never again read from the NAS once a merge may have begun
        RecordStage("merging"),
        EnsureLocalOrigin(request.zvol, request.pool),
        EnsureSessionGone(request.zvol, request.target),
    )


def _switch_again(request: asked.SwitchOrigin) -> HostEffects:
    return (
        EnsureLocalOrigin(request.zvol, request.pool),
        EnsureSessionGone(request.zvol, request.target),
    )


def _merge(request: asked.MergeOverlay) -> HostEffects:
    return (
        EnsureMergeDevice(request.zvol, request.pool),
        WaitMerged(request.zvol),
        RecordStage("linear"),
        *_merge_tail(request),
    )


def _merge_tail(request: asked.MergeOverlay) -> HostEffects:
    return (
        EnsureLinearDevice(request.zvol, request.pool),
        EnsureOriginGone(request.zvol),
        EnsureTempWriteGone(request.zvol, request.pool),
    )


def _pull(request: asked.PullCopy) -> HostEffects:
    return (
        SnapshotCopy(request.zvol, request.pool, request.name),
        SendSnapshot(request.zvol, request.pool, request.name),
    )


def _settle(request: asked.SettleBase) -> HostEffects:
    return (AdvanceBase(request.zvol, request.pool, request.name),)


def _detach(request: asked.DetachDevice) -> HostEffects:
    return (EnsureDeviceGone(request.zvol), RecordStage("none"))


def _nothing(request: HostRequest) -> HostEffects:
    return ()


def _return(request: asked.ReturnCopy) -> HostEffects:
    return (
        SnapshotCopy(request.zvol, request.pool, request.name),
        SendSnapshot(request.zvol, request.pool, request.name),
        AdvanceBase(request.zvol, request.pool, request.name),
        MarkCopy(request.zvol, request.pool, "clean", None),
    )


def _discard(request: asked.DiscardChanges) -> HostEffects:
    return (
        RollBack(request.zvol, request.pool, request.base_guid),
        MarkCopy(request.zvol, request.pool, "clean", request.base_guid),
    )


_SEQUENCES: Dict[Type[object], Dict[Stage, Callable[..., HostEffects]]] = {
    asked.MapOverlay: {"none": _map_overlay, "overlay": _map_overlay},
    asked.MapLinear: {"none": _map_linear, "linear": _map_linear_again},
    asked.MapRemote: {"none": _map_remote, "remote": _map_remote},
    asked.DropMap: {
        "none": _drop_nothing,
        "overlay": _drop_overlay,
        "linear": _drop_linear,
        "remote": _drop_remote,
    },
    asked.SeedCopy: {"overlay": _seed},
    asked.SwitchOrigin: {"overlay": _switch, "merging": _switch_again, "linear": _switch_again},
    asked.MergeOverlay: {"merging": _merge, "linear": _merge_tail},
    asked.PullCopy: {"linear": _pull},
    asked.SettleBase: {"linear": _settle},
    asked.DetachDevice: {"linear": _detach, "none": _nothing},
    asked.ReturnCopy: {"none": _return},
    asked.DiscardChanges: {"none": _discard},
}
"""Request → stage → what is done; a stage that is missing refuses."""
