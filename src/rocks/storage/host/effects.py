"""The effects of a host, as data. An effect reads the state and changes it where necessary; repeating it is harmless.

`sequences` orders them, `copy_handlers` and `device_handlers` perform them.
"""

from __future__ import annotations

from typing import Optional, Tuple, Union

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import tagged
from rocks.storage.life.facts import Stage


@tagged
@dataclass(frozen=True)
class ReadCopy:
    """Read the state of the image's copy. Facts: copy."""

    zvol: str
    pool: Optional[str]


@tagged
@dataclass(frozen=True)
class RecordStage:
    """Store the stage to rebuild from now on, with the request's epoch, pool and size.

    `target` and `serial` are set while the NAS's disk is needed.
    """

    stage: Stage
    target: Optional[str] = None
    serial: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureUnused:
    """No guest has the device open, or was saved with it. BusyError otherwise."""

    zvol: str


@tagged
@dataclass(frozen=True)
class EnsureDeviceGone:
    """The guest's device is gone. BusyError when it is open, or its guest was saved with it.

    A placeholder that an arriving guest has open stays.
    """

    zvol: str


@tagged
@dataclass(frozen=True)
class EnsureOriginGone:
    """The origin device below the guest's device is gone."""

    zvol: str


@tagged
@dataclass(frozen=True)
class EnsureSession:
    """Logged in to the target, and the disk's serial and size are the expected ones."""

    target: str
    serial: str
    size_bytes: int
    read_only: bool


@tagged
@dataclass(frozen=True)
class EnsureSessionGone:
    """No session, disk or session record of this target; None: of any target of the image."""

    zvol: str
    target: Optional[str]


@tagged
@dataclass(frozen=True)
class EnsureQuarantined:
    """Copy, temp-write volume and seed of an earlier epoch are renamed to names in quarantine."""

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

    First `needed_bytes` are freed in the pool, by evicting copies of other images if necessary.
    """

    zvol: str
    pool: str
    size_bytes: int
    needed_bytes: int = 0


@tagged
@dataclass(frozen=True)
class RequireTempWrite:
    """The temp-write volume is there with a valid header. IncoherentError otherwise: a restart makes no new one."""

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
    """The temp-write volume is empty or missing.

    Otherwise facts has_changes True, and the request ends here, done; the host then rebuilds the stage's devices.
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
    """Wait until the merge is complete. ToolError when the kernel reports the snapshot as invalid, full or failed."""

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
    """An older copy is renamed to the seed volume, to be updated there."""

    zvol: str
    pool: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class ReceiveSeed:
    """The seed volume has the base: received from the newest common snapshot, or resumed from a token."""

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
    """No partial receive is left: a complete copy has its name back."""

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
    """The copy's properties are set to `clean` or `dirty` and to the snapshot; None: its newest."""

    zvol: str
    pool: str
    kind: str
    guid: Optional[str]


@tagged
@dataclass(frozen=True)
class SnapshotCopy:
    """A snapshot of that name, held; it includes all earlier writes of the guest."""

    zvol: str
    pool: str
    name: str


@tagged
@dataclass(frozen=True)
class SendSnapshot:
    """The NAS has received, held and confirmed the snapshot. Facts: guid."""

    zvol: str
    pool: str
    name: str


@tagged
@dataclass(frozen=True)
class AdvanceBase:
    """The snapshot is the base: it has cursor and hold, older cursors, holds and automatic snapshots are removed."""

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
    EnsureQuarantined,
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
