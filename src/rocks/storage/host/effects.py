"""The effects of a host, as data. An effect reads the state and changes it where necessary; repeating it is harmless.

`sequences` orders them, `copies` and `devices` perform them.
"""

from __future__ import annotations

from typing import Optional, Tuple

from rocks.core.dataclasses import dataclass
from rocks.storage.image.image import Stage


class HostEffect:
    """The base class."""


@dataclass(frozen=True)
class ImageEffect(HostEffect):
    """The base class of an effect on an image."""

    zvol: str


@dataclass(frozen=True)
class PoolEffect(ImageEffect):
    """The base class of an effect that needs the image's volumes in a pool of the host."""

    pool: str


@dataclass(frozen=True)
class ReadCopy(ImageEffect):
    """Read the state of the image's copy. Facts: copy."""

    pool: Optional[str]


@dataclass(frozen=True)
class RecordStage(HostEffect):
    """Store the stage to rebuild from now on, with the request's epoch, pool and size.

    `target` and `serial` are set while the NAS's disk is needed.
    """

    stage: Stage
    target: Optional[str] = None
    serial: Optional[str] = None


class RequireUnused(ImageEffect):
    """No guest has the device open, or was saved with it. BusyError otherwise."""


class RequireClosed(ImageEffect):
    """No guest has the device open. BusyError otherwise."""


class EnsureDeviceGone(ImageEffect):
    """The guest's device is gone. BusyError when it is open, or its guest was saved with it.

    A placeholder that an arriving guest has open stays.
    """


class EnsureOriginGone(ImageEffect):
    """The origin device below the guest's device is gone."""


@dataclass(frozen=True)
class EnsureSession(HostEffect):
    """Logged in to the target, and the disk's serial and size are the expected ones."""

    target: str
    serial: str
    size_bytes: int
    read_only: bool


@dataclass(frozen=True)
class EnsureSessionGone(ImageEffect):
    """No session, disk or session record of this target; None: of any target of the image."""

    target: Optional[str]


class EnsureQuarantined(PoolEffect):
    """Copy, temp-write volume and seed of an earlier epoch are renamed to names in quarantine."""


@dataclass(frozen=True)
class EnsureRemoteOrigin(ImageEffect):
    """The origin device is there, over the NAS's disk; one that is over the copy already stays."""

    target: str


class EnsureLocalOrigin(PoolEffect):
    """The origin device is there, over the copy; one that is over the NAS's disk is switched while the guest runs."""


@dataclass(frozen=True)
class EnsureTempWrite(PoolEffect):
    """The temp-write volume is there; a missing one is made, empty.

    First `needed_bytes` are freed in the pool, by evicting copies of other images if necessary.
    """

    size_bytes: int
    needed_bytes: int = 0


class RequireTempWrite(PoolEffect):
    """The temp-write volume is there with a valid header. IncoherentError otherwise: a restart makes no new one."""


class EnsureTempWriteGone(PoolEffect):
    """No temp-write volume."""


class RequireTempWriteEmpty(PoolEffect):
    """The temp-write volume is empty or missing.

    Otherwise facts has_changes True, and the request ends here, done; the host then rebuilds the stage's devices.
    """


class EnsureOverlayDevice(PoolEffect):
    """The guest's device is a snapshot of the origin over the temp-write volume. Facts: device."""


class EnsureMergeDevice(PoolEffect):
    """The guest's device merges the temp-write volume into the copy: same origin, same temp-write volume."""


class WaitMerged(ImageEffect):
    """Wait until the merge is complete. ToolError when the kernel reports the snapshot as invalid, full or failed."""


class EnsureLinearDevice(PoolEffect):
    """The guest's device is the copy itself; one that has been merged is switched. Facts: device."""


@dataclass(frozen=True)
class EnsureSeedPlace(PoolEffect):
    """An older copy is renamed to the seed volume, to be updated there."""

    base_guid: str


@dataclass(frozen=True)
class ReceiveSeed(PoolEffect):
    """The seed volume has the base: received from the newest common snapshot, or resumed from a token."""

    base_guid: str


@dataclass(frozen=True)
class EnsureSeedNamed(PoolEffect):
    """The received copy, whose newest snapshot has this guid and is held, has the copy's name. Facts: guid."""

    base_guid: str


class EnsureSeedSettled(PoolEffect):
    """No partial receive is left: a complete copy has its name back."""


@dataclass(frozen=True)
class RequireCopyAt(PoolEffect):
    """The copy's newest snapshot has this guid, and nothing was written since; IncoherentError otherwise.

    That snapshot is held from here on, and no other. Facts: guid.
    """

    guid: str


@dataclass(frozen=True)
class MarkCopy(PoolEffect):
    """The copy's properties are set to `clean` or `dirty` and to the snapshot; None: its newest."""

    kind: str
    guid: Optional[str]


class MarkMerged(PoolEffect):
    """The copy's properties say that what the guest wrote in this epoch is merged into it."""


class MarkUnchanged(PoolEffect):
    """A copy that was marked as dirty, and not written to, is marked as clean; without its pool nothing is done."""


@dataclass(frozen=True)
class RequireAllInSnapshot(PoolEffect):
    """Nothing was written to the copy since its snapshot of that name, if there is one; IncoherentError otherwise."""

    name: str


@dataclass(frozen=True)
class SnapshotCopy(PoolEffect):
    """A snapshot of that name, held; it includes all earlier writes of the guest."""

    name: str


@dataclass(frozen=True)
class SendSnapshot(PoolEffect):
    """The NAS has received, held and confirmed the snapshot. Facts: guid."""

    name: str


@dataclass(frozen=True)
class AdvanceBase(PoolEffect):
    """The snapshot is the base: it has cursor and hold, older cursors, holds and automatic snapshots are removed."""

    name: str


@dataclass(frozen=True)
class RollBack(PoolEffect):
    """The copy has the content of the snapshot of that guid, which is held, and no later one."""

    guid: str


HostEffects = Tuple[HostEffect, ...]
