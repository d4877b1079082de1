"""Requests of a command to the image storage of a NAS or a host: the shape and the action of each.

Names of fields are those that existing tools use. `messages` converts them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Generic, Literal, NamedTuple, Optional, Tuple, Type, TypeVar

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import read_shape
from rocks.storage.wire import replies
from rocks.storage.wire.replies import (
    BaseRow,
    CopyRow,
    Fields,
    HeldRow,
    ImageRow,
    MadeBase,
    MadeClones,
    MadeVolume,
    OperationRow,
    read_attributes,
    read_bdev,
    read_body_text,
    read_devices,
    read_image_attributes,
    read_names,
    read_nothing,
    read_rows,
    read_snapshots,
)

Reply_co = TypeVar("Reply_co", covariant=True)


class Asks(Generic[Reply_co]):
    """A request whose reply is read as that."""


# --- actions: each is declared once, with the shape of its request. Names are those that existing tools use ----------


Role = Literal["nas", "host"]

Repetition = Literal["reads", "again", "in time", "once"]
"""How a daemon treats a request that arrives again.

`reads`: it changes nothing. `again`: it is performed again, which makes no difference. `in time`: the same, but not
after its deadline. `once`: it is an operation on an image, which is recorded; the recorded reply is sent.
"""


class Action(NamedTuple):
    """A request: its name, how a repeated one is treated, the action of the reply, how that is read, who answers, and
    its shape.
    """

    name: str
    repetition: Repetition
    reply: str
    read: Callable[[Fields], Any]
    role: Role
    shape: Type[Asks[Any]]


ACTIONS: Dict[str, Action] = {}
"""Name → action, for every action of a command: what a daemon answers, and what a command can ask."""

_BY_SHAPE: Dict[Type[Asks[Any]], Action] = {}
_Shape = TypeVar("_Shape", bound=Type[Asks[Any]])


def action(
    name: str,
    repetition: Repetition,
    reply: str,
    read: Callable[[Fields], Any] = read_nothing,
    role: Role = "nas",
) -> Callable[[_Shape], _Shape]:
    """Declares the action whose request has the decorated shape."""

    def declare(shape: _Shape) -> _Shape:
        ACTIONS[name] = _BY_SHAPE[shape] = Action(name, repetition, reply, read, role, shape)
        return shape

    return declare


def action_of(request: Asks[Any]) -> Action:
    """The action of a request."""
    return _BY_SHAPE[type(request)]


# --- requests to a NAS ---------------------------------------------------------------------------------------------


@action("map_zvol", "once", "zvol_mapped", read_bdev)
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


@action("add_zvol", "again", "zvol_added", partial(read_shape, MadeVolume))
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


@action("add_base", "in time", "base_added", partial(read_shape, MadeBase))
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


@action("list_bases", "reads", "base_list", partial(read_rows, BaseRow))
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


@action("clone_zvols", "in time", "zvols_cloned", partial(read_shape, MadeClones))
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


@action("freeze_zvols", "in time", "zvols_frozen", read_names)
@dataclass(frozen=True)
class FreezeZvols(Asks[Dict[str, str]]):
    """Have a snapshot of the present content of each of the unmapped images, from which clones are made."""

    zpool: str
    zvols: Tuple[str, ...]


@action("unmap_zvol", "once", "zvol_unmapped")
@dataclass(frozen=True)
class UnmapZvol(Asks[None]):
    """Unmap an image and write its changes back. The answer comes when the NAS has them."""

    zvol: str


@action("del_zvol", "once", "zvol_deleted")
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


@action("undelete_zvol", "once", "zvol_undeleted")
@dataclass(frozen=True)
class UndeleteZvol(Asks[None]):
    """Revoke the removal of an image whose grace period has not ended."""

    zvol: str


@action("accept_zvol", "again", "zvol_accepted")
@dataclass(frozen=True)
class AcceptZvol(Asks[None]):
    """Expect an image that the NAS `source` will move here, into `zpool`; `needed_bytes` must be free there."""

    zpool: str
    zvol: str
    source: str
    image_id: str
    needed_bytes: int = 0


@action("move_zvol", "once", "zvol_moved")
@dataclass(frozen=True)
class MoveZvol(Asks[None]):
    """Move an unmapped image to the pool `zpool` of another NAS, which expects it. The answer comes when it is there.

    Until `grace_seconds` have passed since then the volume here can be restored, as another image.
    """

    zvol: str
    nas: str
    zpool: str
    grace_seconds: int = 0


@action("check_request", "reads", "request_checked")
@dataclass(frozen=True)
class CheckRequest(Asks[None]):
    """Whether the NAS would refuse a request (its message) from its own records; nothing is changed."""

    message: str


@action("list_zvols", "reads", "zvol_list", partial(read_rows, ImageRow))
@dataclass(frozen=True)
class ListZvols(Asks[Tuple[replies.ImageRow, ...]]):
    """Images of the NAS by name, from the first one behind `after`; as many as fit into a message. `more` in the answer
    states that there are others."""

    after: str = ""


@action("grow_zvol", "once", "zvol_grown")
@dataclass(frozen=True)
class GrowZvol(Asks[None]):
    """Give an unmapped image this size; it never shrinks. With `machine`, a UUID, another machine's image stays."""

    zpool: str
    zvol: str
    size_bytes: int
    machine: str = ""


@action("get_zvol_attrs", "reads", "get_zvol_attrs", read_image_attributes)
@dataclass(frozen=True)
class GetZvolAttrs(Asks[replies.ImageAttributes]):
    """The attributes of one image."""

    zvol: str


@action("set_zvol_attrs", "again", "set_zvol_attrs", read_image_attributes)
@dataclass(frozen=True)
class SetZvolAttrs(Asks[replies.ImageAttributes]):
    """Set some of them; None clears one. With `persistent` no, a guest's writes are discarded at unmap.

    With `machine`, a UUID, another machine's image stays as it is. A NAS of an earlier release ignores the UUID.
    """

    zvol: str
    changes: Tuple[Tuple[str, Optional[str]], ...]
    machine: str = ""


@action("get_attrs", "reads", "get_attrs", read_attributes)
@dataclass(frozen=True)
class GetAttrs(Asks[Dict[str, Optional[str]]]):
    """The attributes of the whole NAS."""


@action("set_attrs", "again", "set_attrs", read_attributes)
@dataclass(frozen=True)
class SetAttrs(Asks[Dict[str, Optional[str]]]):
    """Set some of them; None stores null."""

    attrs: Tuple[Tuple[str, Optional[str]], ...]


@action("del_attrs", "again", "del_attrs", read_attributes)
@dataclass(frozen=True)
class DelAttrs(Asks[Dict[str, Optional[str]]]):
    """Remove some of them."""

    attrs: Tuple[str, ...]


@action("pull_zvol", "once", "zvol_pulled")
@dataclass(frozen=True)
class PullZvol(Asks[None]):
    """Write a running guest's changes back now."""

    zvol: str


@action("cancel_zvol", "once", "zvol_cancelled")
@dataclass(frozen=True)
class CancelZvol(Asks[None]):
    """Undo a map or a move in progress, or cancel a waiting unmap."""

    zvol: str


@action("retry_zvol", "once", "zvol_retried")
@dataclass(frozen=True)
class RetryZvol(Asks[None]):
    """Continue with a blocked image, whose cause has been fixed."""

    zvol: str


@action("abandon_zvol", "once", "zvol_abandoned")
@dataclass(frozen=True)
class AbandonZvol(Asks[None]):
    """Abandon the changes that only the image's host has. The reason is recorded. A NAS of 0.1 requires `force`."""

    zvol: str
    reason: str
    force: bool = True


@action("list_snapshots", "reads", "snapshot_list", read_snapshots)
@dataclass(frozen=True)
class ListSnapshots(Asks[replies.SnapshotsOfImage]):
    """Snapshots of an image; with `zpool`, also of a volume there that has no record yet."""

    zvol: str
    zpool: str = ""


@action("restore_zvol", "once", "zvol_restored")
@dataclass(frozen=True)
class RestoreZvol(Asks[None]):
    """Make an earlier snapshot the current content; with `zpool`, also of a volume there that has no record yet.

    With `machine`, a UUID, another machine's image stays.
    """

    zvol: str
    snapshot: str
    machine: str = ""
    zpool: str = ""


@action("hold_snapshot", "in time", "snapshot_held", partial(read_shape, HeldRow))
@dataclass(frozen=True)
class HoldSnapshot(Asks[replies.HeldRow]):
    """Hold a snapshot of an image with these tags (`rocks.storage.wire.names`), in their order.

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


@action("release_snapshot", "in time", "snapshot_released")
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


@action("list_operations", "reads", "operation_list", partial(read_rows, OperationRow))
@dataclass(frozen=True)
class ListOperations(Asks[Tuple[replies.OperationRow, ...]]):
    """The operations in progress on the NAS."""


@action("op_status", "reads", "op_status")
@dataclass(frozen=True)
class OperationStatus(Asks[None]):
    """The result or the progress of an operation, by its id."""

    operation: str


# --- requests to a host --------------------------------------------------------------------------------------------


@action("list_dev", "reads", "dev_list", read_devices, role="host")
@dataclass(frozen=True)
class ListDevices(Asks[Dict[str, replies.DeviceRow]]):
    """The host's parts of images."""


@action("list_initiator", "reads", "zvol_list", read_body_text, role="host")
@dataclass(frozen=True)
class ListInitiator(Asks[str]):
    """The host's iSCSI name."""


@action("list_copies", "reads", "copy_list", partial(read_rows, CopyRow), role="host")
@dataclass(frozen=True)
class ListCopies(Asks[Tuple[replies.CopyRow, ...]]):
    """Copies of images on the host that no guest uses, also quarantined ones."""


@action("del_copy", "again", "copy_deleted", role="host")
@dataclass(frozen=True)
class DelCopy(Asks[None]):
    """Destroy one of them, by its whole name; with `force` also data that no NAS has."""

    volume: str
    force: bool = False
