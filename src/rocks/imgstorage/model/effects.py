"""What is to be done, as data: effects on the NAS, and what is asked of a host. Done by perform, journalled before.

Every effect looks first, acts if it must, and looks again; done twice it changes nothing. Identity is by guid and
epoch: the same name with another identity is an IncoherentError, never a success.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

from rocks.wire.codec import tagged

# --- on the NAS ----------------------------------------------------------------------------------------------------


@tagged
@dataclass(frozen=True)
class EnsureVolume:
    """The volume exists; the first time, a missing one is made with this size, an existing one keeps its own.

    With the guid of an image that has been used nothing is made: StateError when the volume is missing,
    IncoherentError when another has its name. Facts: size_bytes, volume_guid, free_bytes and pool_bytes of the pool.
    """

    volume: str
    size_bytes: int
    guid: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureLease:
    """Epoch, owner, state and base stand in the volume's properties.

    IncoherentError when a higher epoch stands there. A missing volume is no error when there is no owner. With
    `only_on` nothing is done unless the volume has that guid: on another's nothing of ours is to be changed.
    """

    volume: str
    epoch: int
    owner: Optional[str]
    state: str
    base_guid: Optional[str]
    only_on: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureBase:
    """A held snapshot equals the volume's content: the newest, if nothing was written since (after the pool has been
    synced), else a new one of this name.

    Facts: base_name, base_guid, seed_bytes, history.
    """

    volume: str
    name: str


@tagged
@dataclass(frozen=True)
class EnsureOnlyHold:
    """The snapshot is held by us, and no other of the volume is: the new hold is there before an old one goes.

    Without a snapshot, none is. A missing volume is no error then. `only_on` as in EnsureLease.
    """

    volume: str
    name: Optional[str]
    guid: Optional[str]
    only_on: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureExport:
    """One target for one initiator, its gate opened last: a snapshot, read only; without one the volume, writable."""

    volume: str
    snapshot: Optional[str]
    target: str
    serial: str
    initiator: str


@tagged
@dataclass(frozen=True)
class EnsureExportGone:
    """No target, no session, no backstore of that target."""

    target: str


@tagged
@dataclass(frozen=True)
class VerifyReceived:
    """The newest snapshot on the NAS has this guid. IncoherentError otherwise. Facts: guid."""

    volume: str
    guid: str


@tagged
@dataclass(frozen=True)
class EnsurePartialGone:
    """No receive that was cut is left in the volume."""

    volume: str


@tagged
@dataclass(frozen=True)
class ReadObstacles:
    """What keeps the volume from being destroyed: clones, and holds of others. Facts: obstacles, volume_guid."""

    volume: str


@tagged
@dataclass(frozen=True)
class EnsureVolumeGone:
    """The volume of that guid, its snapshots and our holds are destroyed; never with clones or holds of others."""

    volume: str
    guid: str


@tagged
@dataclass(frozen=True)
class EnsureSnapshot:
    """A snapshot of the present content under that name, of the volume of that guid if it is known.

    Facts: volume_guid.
    """

    volume: str
    name: str
    guid: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureClone:
    """A clone of the volume's snapshot of that guid lies beside it, and nothing else has that name."""

    volume: str
    snapshot: str
    guid: str
    beside: str


@tagged
@dataclass(frozen=True)
class EnsureRestored:
    """The snapshot of that guid is the volume's present content, and nothing was destroyed.

    The clone of it at `beside` is promoted, the volume, whose guid was `original_guid`, is renamed to `aside`, the
    clone takes its name; each of these is skipped when it is already so. Facts: volume_guid, which is the clone's.
    """

    volume: str
    snapshot: str
    guid: str
    aside: str
    beside: str
    original_guid: str


# --- asked of a host -----------------------------------------------------------------------------------------------


@tagged
@dataclass(frozen=True)
class LookAtCopy:
    """Tell what there is of the image. Facts: copy."""

    zvol: str
    pool: Optional[str]


@tagged
@dataclass(frozen=True)
class MapOverlay:
    """Give the guest the NAS's disk under a temp-write volume. Facts: device.

    With `sets_aside` whatever an earlier epoch left is renamed first and kept. `room_bytes` is what the pool must have
    free for the copy and the guest's writes.
    """

    zvol: str
    pool: str
    target: str
    serial: str
    size_bytes: int
    sets_aside: bool
    room_bytes: int = 0


@tagged
@dataclass(frozen=True)
class MapLinear:
    """Give the guest the copy, whose newest snapshot must have this guid with nothing written since. Facts: device."""

    zvol: str
    pool: str
    base_guid: str
    size_bytes: int


@tagged
@dataclass(frozen=True)
class MapRemote:
    """Give the guest the NAS's disk itself, writable. Facts: device. `sets_aside` as in MapOverlay."""

    zvol: str
    pool: Optional[str]
    target: str
    serial: str
    size_bytes: int
    sets_aside: bool


@tagged
@dataclass(frozen=True)
class DropMap:
    """Take away what a map has given, whatever stage it reached; a missing piece is no error.

    Unless `discards`, nothing is dropped when the temp-write volume holds changes: facts has_changes True.
    StateError when a guest has the device open.
    """

    zvol: str
    pool: Optional[str]
    target: Optional[str]
    discards: bool


@tagged
@dataclass(frozen=True)
class SeedCopy:
    """Receive the base snapshot from the NAS into a volume beside, verify it and give it its name. Facts: guid."""

    zvol: str
    pool: str
    base_name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class SwitchOrigin:
    """Turn the guest's reads from the NAS to the local copy, then log out."""

    zvol: str
    pool: str
    target: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class MergeOverlay:
    """Merge the guest's writes into the local copy, then give it the copy alone."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class PullCopy:
    """Take a snapshot of the copy and send it home. Facts: guid."""

    zvol: str
    pool: str
    name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class SettleBase:
    """The NAS has looked and has the snapshot: it is the base, older ones go."""

    zvol: str
    pool: str
    name: str


@tagged
@dataclass(frozen=True)
class DetachDevice:
    """Take the device away; the copy stays with all that was written. StateError when a guest has it open."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class ReturnCopy:
    """Take the final snapshot and send it home; when the NAS has it, the copy is clean. Facts: guid."""

    zvol: str
    pool: str
    name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class DiscardChanges:
    """Set the copy back to its base."""

    zvol: str
    pool: str
    base_guid: str


HostRequest = Union[
    LookAtCopy,
    MapOverlay,
    MapLinear,
    MapRemote,
    DropMap,
    SeedCopy,
    SwitchOrigin,
    MergeOverlay,
    PullCopy,
    SettleBase,
    DetachDevice,
    ReturnCopy,
    DiscardChanges,
]


@tagged
@dataclass(frozen=True)
class AskHost:
    """Have a host do one action. Always the last effect of a step: the step is done when the answer has come.

    It goes out under the work's id and the image's epoch, and again under the same after a restart.
    """

    host: str
    request: HostRequest


Effect = Union[
    EnsureVolume,
    EnsureLease,
    EnsureBase,
    EnsureOnlyHold,
    EnsureExport,
    EnsureExportGone,
    VerifyReceived,
    EnsurePartialGone,
    ReadObstacles,
    EnsureVolumeGone,
    EnsureSnapshot,
    EnsureClone,
    EnsureRestored,
    AskHost,
]
