"""Requests of a command to the image storage of a NAS or a host: their shapes, and a row for each in `ACTIONS`.

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


# --- the table of actions ------------------------------------------------------------------------------------------
# Every request of a command that image storage answers, what it does, and how its reply is read. Names of actions are
# those that existing tools use.


Role = Literal["nas", "host"]

Effect = Literal["reads", "again", "in time", "once"]
"""What a request does, and does when it is repeated: it changes nothing; it is performed again, which makes no
difference; the same, but not after its deadline; as an operation on an image it is recorded, and gets that reply."""


class Action(NamedTuple):
    """A request: its name, who answers, its shape, the action of the reply, how that is read, and what it does."""

    name: str
    role: Role
    shape: Type[Asks[Any]]
    reply: str
    read: Callable[[Fields], Any]
    effect: Effect


ACTIONS: Dict[str, Action] = {
    action.name: action
    for action in (
        Action("map_zvol", "nas", MapZvol, "zvol_mapped", read_bdev, "once"),
        Action("add_zvol", "nas", AddZvol, "zvol_added", partial(read_shape, MadeVolume), "again"),
        Action("add_base", "nas", AddBase, "base_added", partial(read_shape, MadeBase), "in time"),
        Action("list_bases", "nas", ListBases, "base_list", partial(read_rows, BaseRow), "reads"),
        Action(
            "clone_zvols",
            "nas",
            CloneZvols,
            "zvols_cloned",
            partial(read_shape, MadeClones),
            "in time",
        ),
        Action("freeze_zvols", "nas", FreezeZvols, "zvols_frozen", read_names, "in time"),
        Action("unmap_zvol", "nas", UnmapZvol, "zvol_unmapped", read_nothing, "once"),
        Action("del_zvol", "nas", DelZvol, "zvol_deleted", read_nothing, "once"),
        Action("undelete_zvol", "nas", UndeleteZvol, "zvol_undeleted", read_nothing, "once"),
        Action("accept_zvol", "nas", AcceptZvol, "zvol_accepted", read_nothing, "again"),
        Action("move_zvol", "nas", MoveZvol, "zvol_moved", read_nothing, "once"),
        Action("grow_zvol", "nas", GrowZvol, "zvol_grown", read_nothing, "once"),
        Action("check_request", "nas", CheckRequest, "request_checked", read_nothing, "reads"),
        Action("list_zvols", "nas", ListZvols, "zvol_list", partial(read_rows, ImageRow), "reads"),
        Action("get_zvol_attrs", "nas", GetZvolAttrs, "get_zvol_attrs", read_image_attributes, "reads"),
        Action("set_zvol_attrs", "nas", SetZvolAttrs, "set_zvol_attrs", read_image_attributes, "again"),
        Action("get_attrs", "nas", GetAttrs, "get_attrs", read_attributes, "reads"),
        Action("set_attrs", "nas", SetAttrs, "set_attrs", read_attributes, "again"),
        Action("del_attrs", "nas", DelAttrs, "del_attrs", read_attributes, "again"),
        Action("pull_zvol", "nas", PullZvol, "zvol_pulled", read_nothing, "once"),
        Action("cancel_zvol", "nas", CancelZvol, "zvol_cancelled", read_nothing, "once"),
        Action("retry_zvol", "nas", RetryZvol, "zvol_retried", read_nothing, "once"),
        Action("abandon_zvol", "nas", AbandonZvol, "zvol_abandoned", read_nothing, "once"),
        Action("list_snapshots", "nas", ListSnapshots, "snapshot_list", read_snapshots, "reads"),
        Action("restore_zvol", "nas", RestoreZvol, "zvol_restored", read_nothing, "once"),
        Action(
            "hold_snapshot",
            "nas",
            HoldSnapshot,
            "snapshot_held",
            partial(read_shape, HeldRow),
            "in time",
        ),
        Action("release_snapshot", "nas", ReleaseSnapshot, "snapshot_released", read_nothing, "in time"),
        Action(
            "list_operations",
            "nas",
            ListOperations,
            "operation_list",
            partial(read_rows, OperationRow),
            "reads",
        ),
        Action("op_status", "nas", OperationStatus, "op_status", read_nothing, "reads"),
        Action("list_dev", "host", ListDevices, "dev_list", read_devices, "reads"),
        Action("list_copies", "host", ListCopies, "copy_list", partial(read_rows, CopyRow), "reads"),
        Action("del_copy", "host", DelCopy, "copy_deleted", read_nothing, "again"),
        Action("list_initiator", "host", ListInitiator, "zvol_list", read_body_text, "reads"),
    )
}
"""Name → action, for every action of a command: what a daemon answers, and what a command can ask."""

_BY_SHAPE: Dict[Type[Asks[Any]], Action] = {action.shape: action for action in ACTIONS.values()}


def action_of(request: Asks[Any]) -> Action:
    """The action of a request."""
    return _BY_SHAPE[type(request)]
