"""The requests that a NAS sends to a host, as data. Journalled on both sides."""

from __future__ import annotations

from typing import Optional, Union

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import tagged


@tagged
@dataclass(frozen=True)
class LookAtCopy:
    """Report the copy of the image. Facts: copy."""

    zvol: str
    pool: Optional[str]


@tagged
@dataclass(frozen=True)
class MapOverlay:
    """Give the guest the NAS's disk under a temp-write volume. Facts: device.

    With `quarantines` the remains of an earlier epoch are renamed first. The pool must have `needed_bytes` free for
    the copy and the guest's writes.
    """

    zvol: str
    pool: str
    target: str
    serial: str
    size_bytes: int
    quarantines: bool
    needed_bytes: int = 0


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
    """Give the guest the NAS's disk itself, writable. Facts: device. `quarantines` as in MapOverlay."""

    zvol: str
    pool: Optional[str]
    target: str
    serial: str
    size_bytes: int
    quarantines: bool


@tagged
@dataclass(frozen=True)
class DropMap:
    """Undo a map, at any stage; a missing part is no error.

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
    """Receive the base snapshot from the NAS into a seed volume, verify it and rename it to the copy. Facts: guid."""

    zvol: str
    pool: str
    base_name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class SwitchOrigin:
    """Switch the guest's reads from the NAS to the local copy, then log out."""

    zvol: str
    pool: str
    target: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class MergeOverlay:
    """Merge the guest's writes into the local copy, then give it the copy itself."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class PullCopy:
    """Take a snapshot of the copy and send it to the NAS. Facts: guid."""

    zvol: str
    pool: str
    name: str
    base_guid: str


@tagged
@dataclass(frozen=True)
class SettleBase:
    """The NAS has verified that it has the snapshot: it is the base, older ones are destroyed."""

    zvol: str
    pool: str
    name: str


@tagged
@dataclass(frozen=True)
class DetachDevice:
    """Remove the device; the copy stays with all writes. StateError when a guest has it open."""

    zvol: str
    pool: str


@tagged
@dataclass(frozen=True)
class ReturnCopy:
    """Take the final snapshot and send it to the NAS; when the NAS has it, the copy is clean. Facts: guid."""

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
