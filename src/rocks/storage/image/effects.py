"""The effects of the NAS, and its requests to hosts, as data: journalled first, then performed by the two daemons."""

from __future__ import annotations

from typing import Optional

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import tagged, tagged_as


@dataclass(frozen=True)
class HostRequest:
    """The base class: a request about an image."""

    zvol: str


@dataclass(frozen=True)
class PoolRequest(HostRequest):
    """The base class of a request about an image's volumes in a pool of the host."""

    pool: str


@tagged
@dataclass(frozen=True)
class LookAtCopy(HostRequest):
    """Report the copy of the image. Facts: copy."""

    pool: Optional[str]


@tagged
@dataclass(frozen=True)
class MapOverlay(PoolRequest):
    """Give the guest the NAS's disk under a temp-write volume. Facts: device.

    With `quarantines` the remains of an earlier epoch are renamed first. The pool must have `needed_bytes` free for
    the copy and the guest's writes.
    """

    target: str
    serial: str
    size_bytes: int
    quarantines: bool
    needed_bytes: int = 0


@tagged
@dataclass(frozen=True)
class MapLinear(PoolRequest):
    """Give the guest the copy, whose newest snapshot must have this guid with nothing written since. Facts: device."""

    base_guid: str
    size_bytes: int


@tagged
@dataclass(frozen=True)
class MapRemote(HostRequest):
    """Give the guest the NAS's disk itself, writable. Facts: device. `quarantines` as in MapOverlay."""

    pool: Optional[str]
    target: str
    serial: str
    size_bytes: int
    quarantines: bool


@tagged
@dataclass(frozen=True)
class DropMap(HostRequest):
    """Undo a map, at any stage; a missing part is no error.

    Unless `discards`, nothing is dropped when the temp-write volume holds changes: facts has_changes True.
    StateError when a guest has the device open.
    """

    pool: Optional[str]
    target: Optional[str]
    discards: bool


@tagged
@dataclass(frozen=True)
class SeedCopy(PoolRequest):
    """Receive the base snapshot from the NAS into a seed volume, verify it and rename it to the copy. Facts: guid."""

    base_name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class SwitchOrigin(PoolRequest):
    """Switch the guest's reads from the NAS to the local copy, then log out."""

    target: str
    base_guid: str


@tagged
class MergeOverlay(PoolRequest):
    """Merge the guest's writes into the local copy, then give it the copy itself."""


@tagged
@dataclass(frozen=True)
class PullCopy(PoolRequest):
    """Take a snapshot of the copy and send it to the NAS. Facts: guid."""

    name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class SettleBase(PoolRequest):
    """The NAS has verified that it has the snapshot: it is the base, older ones are destroyed."""

    name: str


@tagged
class DetachDevice(PoolRequest):
    """Remove the device; the copy stays with all writes. StateError when a guest has it open."""


@tagged
@dataclass(frozen=True)
class ReturnCopy(PoolRequest):
    """Take the final snapshot and send it to the NAS; when the NAS has it, the copy is clean. Facts: guid."""

    name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class DiscardChanges(PoolRequest):
    """Set the copy back to its base."""

    base_guid: str


# --- effects of the NAS: in the record of the image first, then performed (`nas.service`) ----------------------------
# An effect reads the present state, changes it where necessary and reads it again, so repeating it changes nothing.
# Objects are identified by guid and epoch: the same name with another identity raises IncoherentError.


class Effect:
    """The base class."""


@dataclass(frozen=True)
class VolumeEffect(Effect):
    """The base class of an effect on a volume, which is `<pool>/<zvol>`."""

    volume: str


@tagged
@dataclass(frozen=True)
class EnsureVolume(VolumeEffect):
    """The volume exists. On first use a missing one is created with this size; an existing one keeps its size.

    With the guid of an image in use nothing is created: StateError when the volume is missing,
    IncoherentError when another has its name. Facts: size_bytes, volume_guid, free_bytes and pool_bytes of the pool.
    """

    size_bytes: int
    guid: Optional[str] = None


@dataclass(frozen=True)
class Grant:
    """What a volume says about its image; `owner` None: no host has it.

    `persistent` is None on volumes, and in journals, of releases that did not write it.
    """

    epoch: int = 0
    sequence: int = 0
    owner: Optional[str] = None
    state: str = ""
    base_name: Optional[str] = None
    base_guid: Optional[str] = None
    image_id: str = ""
    initiator: Optional[str] = None
    sync: bool = True
    remote_pool: Optional[str] = None
    lease_token: Optional[int] = None
    machine: str = ""
    persistent: Optional[bool] = None


@tagged_as("EnsureLease")
@dataclass(frozen=True)
class EnsureGrant(Grant, VolumeEffect):
    """The grant is set in the volume's properties, with all that a lost record can be made of again.

    IncoherentError when they have a higher epoch, or in the same epoch another owner than this one or `replaces`.
    A missing volume is no error without an owner. With `only_on` nothing is done unless the volume has that guid:
    foreign volumes are not changed.
    """

    only_on: Optional[str] = None
    replaces: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureBase(VolumeEffect):
    """A held snapshot equals the volume's content: the newest, if nothing was written since (after the pool has been
    synced), else a new one of this name.

    Facts: base_name, base_guid, seed_bytes, history.
    """

    name: str


@tagged
@dataclass(frozen=True)
class EnsureOnlyHold(VolumeEffect):
    """The snapshot has our hold and no other of the volume has: the new hold is set before an old one is released.

    Without a snapshot, none has. A missing volume is no error then. `only_on` as in EnsureGrant.
    """

    name: Optional[str]
    guid: Optional[str]
    only_on: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureExport(VolumeEffect):
    """One target for one initiator, its gate opened last: a snapshot, read only; without one the volume, writable.

    With the guid of the image's volume, IncoherentError when another has its name: its content is another.
    """

    snapshot: Optional[str]
    target: str
    serial: str
    initiator: str
    guid: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureExportGone(Effect):
    """No target, no session, no backstore of that target, nor of an earlier map of its image that no host uses."""

    target: str


@tagged
@dataclass(frozen=True)
class VerifyReceived(VolumeEffect):
    """The newest snapshot on the NAS has this guid. IncoherentError otherwise. Facts: guid."""

    guid: str


@tagged
class ReadHistory(VolumeEffect):
    """Find the snapshots of the volume. Facts: history."""


@tagged
@dataclass(frozen=True)
class EnsurePartialGone(VolumeEffect):
    """The volume has no partial receive. With the guid of its recorded base, nothing of a complete pull that was not
    confirmed either: it is rolled back to the base. StateError when a snapshot, clone or hold of somebody needs that.
    """

    base_guid: Optional[str] = None


@tagged
class ReadObstacles(VolumeEffect):
    """Find the obstacles to the destruction of the volume: clones and foreign holds. Facts: obstacles, volume_guid."""


@tagged
@dataclass(frozen=True)
class EnsureVolumeGone(VolumeEffect):
    """The volume of that guid, its snapshots and our holds are destroyed; never with clones or foreign holds.

    IncoherentError unless it says that it was removed, in no later change than that of this number in this epoch; those
    are None in journals of releases that did not write them.
    """

    guid: str
    epoch: Optional[int] = None
    sequence: int = 0


@tagged
@dataclass(frozen=True)
class EnsureSnapshot(VolumeEffect):
    """A snapshot of the present content under that name, of the volume of that guid if it is known.

    Facts: volume_guid.
    """

    name: str
    guid: Optional[str] = None


@tagged
@dataclass(frozen=True)
class EnsureClone(VolumeEffect):
    """A clone of the volume's snapshot of that guid lies beside it, and nothing else has that name."""

    snapshot: str
    guid: str
    beside: str


@tagged
@dataclass(frozen=True)
class EnsureRestored(VolumeEffect):
    """The snapshot of that guid is the volume's present content, and nothing was destroyed.

    The clone of it at `beside` is promoted, the volume, whose guid was `original_guid`, is renamed to `former`, the
    clone takes its name; each of these is skipped when it is already so. Facts: volume_guid, which is the clone's.
    """

    snapshot: str
    guid: str
    former: str
    beside: str
    original_guid: str


@tagged
@dataclass(frozen=True)
class EnsureSize(VolumeEffect):
    """The volume has this size, in bytes, rounded up to whole blocks; one that is larger is an error.

    IncoherentError while the volume says that a host has it. StateError without the volume of that guid, and when the
    pool has no free space for the changes of a volume of that size, since then no host would get it. Facts: size_bytes,
    volume_guid.
    """

    size_bytes: int
    guid: Optional[str] = None


@tagged
@dataclass(frozen=True)
class SendToNas(VolumeEffect):
    """The other NAS has all snapshots of the volume, up to the base that an earlier effect found, and has compared the
    content with the volume's.

    Performed beside the others, since it may take hours. Facts: guid.
    """

    nas: str
    pool: str


@tagged
@dataclass(frozen=True)
class HandOver(VolumeEffect):
    """The other NAS has the image: from now on hosts get it from there. `guid` is that of the snapshot it ends with.

    Performed as SendToNas. Repeating it after the other NAS has given the image to a host changes nothing.
    """

    nas: str
    guid: str


@tagged
@dataclass(frozen=True)
class AskHost(Effect):
    """Send a request to a host. Always the last effect of a step: the step is done when the answer arrives.

    It is sent under the work's id and the image's epoch, and again under the same after a restart.
    """

    host: str
    request: HostRequest


BETWEEN_NASES = (SendToNas, HandOver)
"""Effects that are performed beside the others."""
