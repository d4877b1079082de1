"""The requests that a NAS sends to a host, as data. Journalled on both sides."""

from __future__ import annotations

from typing import Optional

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import tagged


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
