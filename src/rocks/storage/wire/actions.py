"""The table of actions: every request of a command that image storage answers, what it does, and how its reply is read.

Names of actions are those that existing tools use (img-storage specification §2.3).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Literal, NamedTuple, Type

from rocks.fleet.wire.codec import read_shape
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
from rocks.storage.wire.requests import (
    AbandonZvol,
    AcceptZvol,
    AddBase,
    AddZvol,
    Asks,
    CancelZvol,
    CloneZvols,
    DelAttrs,
    DelCopy,
    DelZvol,
    FreezeZvols,
    GetAttrs,
    GetZvolAttrs,
    GrowZvol,
    HoldSnapshot,
    ListBases,
    ListCopies,
    ListDevices,
    ListInitiator,
    ListOperations,
    ListSnapshots,
    ListZvols,
    MapZvol,
    MoveZvol,
    OperationStatus,
    PullZvol,
    ReleaseSnapshot,
    RestoreZvol,
    RetryZvol,
    SetAttrs,
    SetZvolAttrs,
    UndeleteZvol,
    UnmapZvol,
)

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
        Action("clone_zvols", "nas", CloneZvols, "zvols_cloned", partial(read_shape, MadeClones), "in time"),
        Action("freeze_zvols", "nas", FreezeZvols, "zvols_frozen", read_names, "in time"),
        Action("unmap_zvol", "nas", UnmapZvol, "zvol_unmapped", read_nothing, "once"),
        Action("del_zvol", "nas", DelZvol, "zvol_deleted", read_nothing, "once"),
        Action("undelete_zvol", "nas", UndeleteZvol, "zvol_undeleted", read_nothing, "once"),
        Action("accept_zvol", "nas", AcceptZvol, "zvol_accepted", read_nothing, "again"),
        Action("move_zvol", "nas", MoveZvol, "zvol_moved", read_nothing, "once"),
        Action("grow_zvol", "nas", GrowZvol, "zvol_grown", read_nothing, "once"),
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
            "hold_snapshot", "nas", HoldSnapshot, "snapshot_held", partial(read_shape, HeldRow), "in time"
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
