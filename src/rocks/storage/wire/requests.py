"""Requests of a command to the image storage of a NAS or a host: their shapes. `actions` has a row for each.

Names of fields are those that existing tools use (img-storage specification §2.3). `messages` converts them.
"""

from __future__ import annotations

from typing import Dict, Generic, Optional, Tuple, TypeVar

from rocks.core.dataclasses import dataclass
from rocks.storage.wire import replies

Reply_co = TypeVar("Reply_co", covariant=True)


class Asks(Generic[Reply_co]):
    """A request whose reply is read as that."""


# --- requests to a NAS ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MapZvol(Asks[str]):
    """Map an image to a host. `size` in GiB counts only for a volume that does not exist yet.

    `token` is the lease token of the virtual machine that will use it, None without one; `machine` is its UUID, empty
    without one.
    """

    zpool: str
    zvol: str
    remotehost: str
    remotepool: Optional[str]
    size: int
    sync: bool
    initiator: str
    token: Optional[int] = None
    machine: str = ""


@dataclass(frozen=True)
class AddZvol(Asks[replies.MadeVolume]):
    """Make a volume: an empty one, or a clone of a snapshot of another one of the pool (`origin`: VOLUME[@SNAPSHOT]).

    With `importing` it cannot be mapped before its content has been transferred.
    """

    zpool: str
    zvol: str
    size_bytes: int = 0
    origin: Optional[str] = None
    importing: bool = False


@dataclass(frozen=True)
class AddBase(Asks[replies.MadeBase]):
    """Make the base volume of an image of the library, unless it is complete: its content is transferred next.

    `digest` is that of the content (`rocks.core.image_blocks`), `size_bytes` the size of the disk, `used_bytes` what
    the pool must have free, `image` the name in the library, for people.
    """

    zpool: str
    digest: str
    size_bytes: int
    used_bytes: int
    image: str


@dataclass(frozen=True)
class ListBases(Asks[Tuple[replies.BaseRow, ...]]):
    """The base volumes of all pools of the NAS that have images, also unfinished ones."""


@dataclass(frozen=True)
class NewClone:
    """A volume to be cloned from `origin` (VOLUME@SNAPSHOT of the pool), then grown to `size_bytes`.

    Without an origin the volume is only looked for.
    """

    zvol: str
    origin: str = ""
    size_bytes: int = 0


@dataclass(frozen=True)
class CloneZvols(Asks[replies.MadeClones]):
    """Make those clones that are missing; a volume that exists stays as it is.

    With `replaces`, an existing volume must be such a clone; one of another snapshot of the same volume that was never
    used is made anew. `sources`: the volume of which each is to be a clone, in their order, where that is known before
    its snapshot is; a NAS of an earlier release ignores it.
    """

    zpool: str
    clones: Tuple[NewClone, ...]
    replaces: bool = False
    sources: Tuple[str, ...] = ()


@dataclass(frozen=True)
class FreezeZvols(Asks[Dict[str, str]]):
    """Have a snapshot of the present content of each of the unmapped images, from which clones are made."""

    zpool: str
    zvols: Tuple[str, ...]


@dataclass(frozen=True)
class UnmapZvol(Asks[None]):
    """Unmap an image and write its changes back. The answer comes when the NAS has them."""

    zvol: str


@dataclass(frozen=True)
class DelZvol(Asks[None]):
    """Destroy an unmapped image; with `force` even if a host's copy has changes that the NAS does not have.

    Until `grace_seconds` have passed it can be restored; 0 destroys it now, also one that is in its grace period.
    `with_snapshots`: the snapshots of its machine are destroyed with it, and do not prevent that. With
    `machine`, a UUID, the image of another virtual machine stays.
    """

    zpool: str
    zvol: str
    force: bool = False
    grace_seconds: int = 0
    machine: str = ""
    with_snapshots: bool = False


@dataclass(frozen=True)
class UndeleteZvol(Asks[None]):
    """Revoke the removal of an image whose grace period has not ended."""

    zvol: str


@dataclass(frozen=True)
class AcceptZvol(Asks[None]):
    """Expect an image that the NAS `source` will move here, into `zpool`; `needed_bytes` must be free there."""

    zpool: str
    zvol: str
    source: str
    image_id: str
    needed_bytes: int = 0


@dataclass(frozen=True)
class MoveZvol(Asks[None]):
    """Move an unmapped image to the pool `zpool` of another NAS, which expects it. The answer comes when it is there.

    Until `grace_seconds` have passed since then the volume here can be restored, as another image.
    """

    zvol: str
    nas: str
    zpool: str
    grace_seconds: int = 0


@dataclass(frozen=True)
class CheckRequest(Asks[None]):
    """Whether the NAS would refuse a request (its message) from its own records; nothing is changed."""

    message: str


@dataclass(frozen=True)
class ListZvols(Asks[Tuple[replies.ImageRow, ...]]):
    """Images of the NAS by name, from the first one behind `after`; as many as fit into a message. `more` in the answer
    states that there are others."""

    after: str = ""


@dataclass(frozen=True)
class GrowZvol(Asks[None]):
    """Give an unmapped image this size; it never shrinks. With `machine`, a UUID, another machine's image stays."""

    zpool: str
    zvol: str
    size_bytes: int
    machine: str = ""


@dataclass(frozen=True)
class GetZvolAttrs(Asks[replies.ImageAttributes]):
    """The attributes of one image."""

    zvol: str


@dataclass(frozen=True)
class SetZvolAttrs(Asks[replies.ImageAttributes]):
    """Set some of them; None clears one. With `persistent` no, a guest's writes are discarded at unmap.

    With `machine`, a UUID, another machine's image stays as it is. A NAS of an earlier release ignores the UUID.
    """

    zvol: str
    changes: Tuple[Tuple[str, Optional[str]], ...]
    machine: str = ""


@dataclass(frozen=True)
class GetAttrs(Asks[Dict[str, Optional[str]]]):
    """The attributes of the whole NAS."""


@dataclass(frozen=True)
class SetAttrs(Asks[Dict[str, Optional[str]]]):
    """Set some of them; None stores null."""

    attrs: Tuple[Tuple[str, Optional[str]], ...]


@dataclass(frozen=True)
class DelAttrs(Asks[Dict[str, Optional[str]]]):
    """Remove some of them."""

    attrs: Tuple[str, ...]


@dataclass(frozen=True)
class PullZvol(Asks[None]):
    """Write a running guest's changes back now."""

    zvol: str


@dataclass(frozen=True)
class CancelZvol(Asks[None]):
    """Undo a map or a move in progress, or cancel a waiting unmap."""

    zvol: str


@dataclass(frozen=True)
class RetryZvol(Asks[None]):
    """Continue with a blocked image, whose cause has been fixed."""

    zvol: str


@dataclass(frozen=True)
class AbandonZvol(Asks[None]):
    """Abandon the changes that only the image's host has. The reason is recorded. A NAS of 0.1 requires `force`."""

    zvol: str
    reason: str
    force: bool = True


@dataclass(frozen=True)
class ListSnapshots(Asks[replies.SnapshotsOfImage]):
    """Snapshots of an image; with `zpool`, also of a volume there that has no record yet."""

    zvol: str
    zpool: str = ""


@dataclass(frozen=True)
class RestoreZvol(Asks[None]):
    """Make an earlier snapshot the current content; with `zpool`, also of a volume there that has no record yet.

    With `machine`, a UUID, another machine's image stays.
    """

    zvol: str
    snapshot: str
    machine: str = ""
    zpool: str = ""


@dataclass(frozen=True)
class HoldSnapshot(Asks[replies.HeldRow]):
    """Hold a snapshot of an image with these tags (`rocks.storage.wire.hold_tags`), in their order.

    It is that of `guid`; without one, that which has the first tag already, or else, of an unmapped image, one of its
    present content, and with `is_mapped` the newest that the NAS has from the host's copy. With `machine`, a UUID,
    another machine's image stays.
    """

    zvol: str
    zpool: str
    tags: Tuple[str, ...]
    is_mapped: bool = False
    guid: str = ""
    machine: str = ""


@dataclass(frozen=True)
class ReleaseSnapshot(Asks[None]):
    """Release the holds of a snapshot of a machine, by its name; with `is_unfinished` only that of one being made.

    With `machine`, a UUID, another machine's image stays.
    """

    zvol: str
    zpool: str
    snapshot: str
    is_unfinished: bool = False
    machine: str = ""


@dataclass(frozen=True)
class ListOperations(Asks[Tuple[replies.OperationRow, ...]]):
    """The operations in progress on the NAS."""


@dataclass(frozen=True)
class OperationStatus(Asks[None]):
    """The result or the progress of an operation, by its id."""

    operation: str


# --- requests to a host --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListDevices(Asks[Dict[str, replies.DeviceRow]]):
    """The host's parts of images."""


@dataclass(frozen=True)
class ListInitiator(Asks[str]):
    """The host's iSCSI name."""


@dataclass(frozen=True)
class ListCopies(Asks[Tuple[replies.CopyRow, ...]]):
    """Copies of images on the host that no guest uses, also quarantined ones."""


@dataclass(frozen=True)
class DelCopy(Asks[None]):
    """Destroy one of them, by its whole name; with `force` also data that no NAS has."""

    volume: str
    force: bool = False
