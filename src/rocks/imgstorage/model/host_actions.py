"""The host's side: what is asked of it, and the stage of the image there, to a fixed order of effects; pure.

The host decides nothing else. It journals a request before the first effect, remembers the answer after the last, and
gives the same answer to the same request again. After a crash it begins the open request again, from the stage that is
stored by then: effects look first and act if they must; done twice they change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Tuple, Type, Union

from rocks.imgstorage.model import effects as asked
from rocks.imgstorage.model.effects import HostRequest
from rocks.imgstorage.model.facts import Stage
from rocks.imgstorage.model.image import Refusal
from rocks.wire.codec import tagged

# --- the effects ---------------------------------------------------------------------------------------------------


@tagged
@dataclass(frozen=True)
class ReadCopy:
    """See what there is of the image. Facts: copy."""

    zvol: str
    pool: Optional[str]


@tagged
@dataclass(frozen=True)
class RecordStage:
    """Store durably what must be rebuilt from here on, with the request's epoch, pool and size.

    `target` and `serial` stand while the NAS's disk is needed.
    """

    stage: Stage
    target: Optional[str] = None
    serial: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureUnused:
    """No guest has the device open. StateError otherwise."""

    zvol: str


@tagged
@dataclass(frozen=True)
class EnsureDeviceGone:
    """The guest's device is gone. StateError when it is open."""

    zvol: str


@tagged
@dataclass(frozen=True)
class EnsureOriginGone:
    """The device below it is gone."""

    zvol: str


@tagged
@dataclass(frozen=True)
class EnsureSession:
    """Logged in to the target, and the disk's serial and size are the wanted ones."""

    target: str
    serial: str
    size_bytes: int
    read_only: bool


@tagged
@dataclass(frozen=True)
class EnsureSessionGone:
    """No session with this target, no disk of it, no record; None: with no target of the image at all."""

    zvol: str
    target: Optional[str]


@tagged
@dataclass(frozen=True)
class EnsureSetAside:
    """Copy, temp-write volume and seed of an earlier epoch are renamed and kept."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class EnsureRemoteOrigin:
    """The origin device is there, over the NAS's disk; one that is over the copy already stays."""

    zvol: str
    target: str


@tagged
@dataclass(frozen=True)
class EnsureLocalOrigin:
    """The origin device is there, over the copy; one that is over the NAS's disk is switched while the guest runs."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class EnsureTempWrite:
    """The temp-write volume is there; a missing one is made, empty.

    Before, `room_bytes` are free in the pool, if that can be had by copies of other images that may go.
    """

    zvol: str
    pool: str
    size_bytes: int
    room_bytes: int = 0


@tagged
@dataclass(frozen=True)
class RequireTempWrite:
    """The temp-write volume is there with a valid header. IncoherentError otherwise: never made anew at a restart."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class EnsureTempWriteGone:
    """No temp-write volume."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class RequireTempWriteEmpty:
    """Nothing was written to it, or it is missing.

    Otherwise facts has_changes True, and the action ends here, done; the host then rebuilds what the stage needs.
    """

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class EnsureOverlayDevice:
    """The guest's device is a snapshot of the origin over the temp-write volume. Facts: device."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class EnsureMergeDevice:
    """The guest's device merges the temp-write volume into the copy: same origin, same temp-write volume."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class WaitMerged:
    """Until nothing is left to merge. ToolError when the kernel calls the snapshot invalid, full or failed."""

    zvol: str


@tagged
@dataclass(frozen=True)
class EnsureLinearDevice:
    """The guest's device is the copy itself; one that has been merged is switched. Facts: device."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class EnsureSeedPlace:
    """A copy that is not finished lies where copies are received: an older one is renamed to there."""

    zvol: str
    pool: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class ReceiveSeed:
    """The base has been received there, by what both sides have in common, from a resume token if there is one."""

    zvol: str
    pool: str
    base_name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class EnsureSeedNamed:
    """The received copy, whose newest snapshot has this guid and is held, has the copy's name. Facts: guid."""

    zvol: str
    pool: str
    base_name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class EnsureSeedSettled:
    """Nothing half received is left: what was a whole copy before has its name again."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class RequireCopyAt:
    """The copy's newest snapshot has this guid, and nothing was written since; IncoherentError otherwise.

    That snapshot is held from here on, and no other. Facts: guid.
    """

    zvol: str
    pool: str
    guid: str


@tagged
@dataclass(frozen=True)
class MarkCopy:
    """The copy's properties say `clean` or `dirty`, and of which snapshot; None: of its newest."""

    zvol: str
    pool: str
    kind: str
    guid: Optional[str]


@tagged
@dataclass(frozen=True)
class SnapshotCopy:
    """A snapshot of that name, held; what the guest wrote before is in it."""

    zvol: str
    pool: str
    name: str


@tagged
@dataclass(frozen=True)
class SendSnapshot:
    """The NAS has received the snapshot, holds it and has said so. Facts: guid."""

    zvol: str
    pool: str
    name: str


@tagged
@dataclass(frozen=True)
class AdvanceBase:
    """The snapshot is the base: cursor and hold are there, then older ones and their automatic snapshots go."""

    zvol: str
    pool: str
    name: str


@tagged
@dataclass(frozen=True)
class RollBack:
    """The copy has the content of the snapshot of that guid, which is held, and no later one."""

    zvol: str
    pool: str
    guid: str


HostEffect = Union[
    ReadCopy,
    RecordStage,
    EnsureUnused,
    EnsureDeviceGone,
    EnsureOriginGone,
    EnsureSession,
    EnsureSessionGone,
    EnsureSetAside,
    EnsureRemoteOrigin,
    EnsureLocalOrigin,
    EnsureTempWrite,
    RequireTempWrite,
    EnsureTempWriteGone,
    RequireTempWriteEmpty,
    EnsureOverlayDevice,
    EnsureMergeDevice,
    WaitMerged,
    EnsureLinearDevice,
    EnsureSeedPlace,
    ReceiveSeed,
    EnsureSeedNamed,
    EnsureSeedSettled,
    RequireCopyAt,
    MarkCopy,
    SnapshotCopy,
    SendSnapshot,
    AdvanceBase,
    RollBack,
]
HostEffects = Tuple[HostEffect, ...]


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


def host_effects(request: HostRequest, known: HostImage, epoch: int) -> Union[HostEffects, Refusal]:
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
