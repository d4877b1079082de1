"""The table of actions: every request of a command that image storage answers, what it does, and how its reply is read.

Names of actions are those that existing tools use (img-storage specification §2.3).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Literal, NamedTuple, Type

from rocks.fleet.wire.codec import read_shape
from rocks.storage.wire import requests
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
from rocks.storage.wire.requests import Asks

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
        Action("map_zvol", "nas", requests.MapZvol, "zvol_mapped", read_bdev, "once"),
        Action("add_zvol", "nas", requests.AddZvol, "zvol_added", partial(read_shape, MadeVolume), "again"),
        Action("add_base", "nas", requests.AddBase, "base_added", partial(read_shape, MadeBase), "in time"),
        Action("list_bases", "nas", requests.ListBases, "base_list", partial(read_rows, BaseRow), "reads"),
        Action(
            "clone_zvols",
            "nas",
            requests.CloneZvols,
            "zvols_cloned",
            partial(read_shape, MadeClones),
            "in time",
        ),
        Action("freeze_zvols", "nas", requests.FreezeZvols, "zvols_frozen", read_names, "in time"),
        Action("unmap_zvol", "nas", requests.UnmapZvol, "zvol_unmapped", read_nothing, "once"),
        Action("del_zvol", "nas", requests.DelZvol, "zvol_deleted", read_nothing, "once"),
        Action("undelete_zvol", "nas", requests.UndeleteZvol, "zvol_undeleted", read_nothing, "once"),
        Action("accept_zvol", "nas", requests.AcceptZvol, "zvol_accepted", read_nothing, "again"),
        Action("move_zvol", "nas", requests.MoveZvol, "zvol_moved", read_nothing, "once"),
        Action("grow_zvol", "nas", requests.GrowZvol, "zvol_grown", read_nothing, "once"),
        Action("check_request", "nas", requests.CheckRequest, "request_checked", read_nothing, "reads"),
        Action("list_zvols", "nas", requests.ListZvols, "zvol_list", partial(read_rows, ImageRow), "reads"),
        Action(
            "get_zvol_attrs", "nas", requests.GetZvolAttrs, "get_zvol_attrs", read_image_attributes, "reads"
        ),
        Action(
            "set_zvol_attrs", "nas", requests.SetZvolAttrs, "set_zvol_attrs", read_image_attributes, "again"
        ),
        Action("get_attrs", "nas", requests.GetAttrs, "get_attrs", read_attributes, "reads"),
        Action("set_attrs", "nas", requests.SetAttrs, "set_attrs", read_attributes, "again"),
        Action("del_attrs", "nas", requests.DelAttrs, "del_attrs", read_attributes, "again"),
        Action("pull_zvol", "nas", requests.PullZvol, "zvol_pulled", read_nothing, "once"),
        Action("cancel_zvol", "nas", requests.CancelZvol, "zvol_cancelled", read_nothing, "once"),
        Action("retry_zvol", "nas", requests.RetryZvol, "zvol_retried", read_nothing, "once"),
        Action("abandon_zvol", "nas", requests.AbandonZvol, "zvol_abandoned", read_nothing, "once"),
        Action("list_snapshots", "nas", requests.ListSnapshots, "snapshot_list", read_snapshots, "reads"),
        Action("restore_zvol", "nas", requests.RestoreZvol, "zvol_restored", read_nothing, "once"),
        Action(
            "hold_snapshot",
            "nas",
            requests.HoldSnapshot,
            "snapshot_held",
            partial(read_shape, HeldRow),
            "in time",
        ),
        Action(
            "release_snapshot", "nas", requests.ReleaseSnapshot, "snapshot_released", read_nothing, "in time"
        ),
        Action(
            "list_operations",
            "nas",
            requests.ListOperations,
            "operation_list",
            partial(read_rows, OperationRow),
            "reads",
        ),
        Action("op_status", "nas", requests.OperationStatus, "op_status", read_nothing, "reads"),
        Action("list_dev", "host", requests.ListDevices, "dev_list", read_devices, "reads"),
        Action("list_copies", "host", requests.ListCopies, "copy_list", partial(read_rows, CopyRow), "reads"),
        Action("del_copy", "host", requests.DelCopy, "copy_deleted", read_nothing, "again"),
        Action("list_initiator", "host", requests.ListInitiator, "zvol_list", read_body_text, "reads"),
    )
}
"""Name → action, for every action of a command: what a daemon answers, and what a command can ask."""

_BY_SHAPE: Dict[Type[Asks[Any]], Action] = {action.shape: action for action in ACTIONS.values()}


def action_of(request: Asks[Any]) -> Action:
    """The action of a request."""
    return _BY_SHAPE[type(request)]
