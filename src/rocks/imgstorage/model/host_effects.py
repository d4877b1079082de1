"""What a host does for an image, as data: one effect each, which looks first and acts if it must; done twice it changes
nothing.

`perform/` does them; `host_actions` says which of them, in what order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

from rocks.imgstorage.model.facts import Stage
from rocks.wire.codec import tagged


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
