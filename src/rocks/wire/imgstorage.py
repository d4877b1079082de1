"""What a command can ask of the image storage of a NAS or a host: shapes, and the one table of actions.

Names of actions and fields are those that existing tools use (img-storage specification §2.3). How they become
messages is in `imgstorage_messages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Literal, NamedTuple, Optional, Tuple, Type

Role = Literal["nas", "host"]


# --- what a command asks of a NAS ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class MapZvol:
    """Give an image to a host. `size` in GB of 1024³ bytes counts only for a volume that does not exist yet.

    `token` is the lease token of the virtual machine that will run on it, None for a use without one.
    """

    zpool: str
    zvol: str
    remotehost: str
    remotepool: Optional[str]
    size: int
    sync: bool
    initiator: str
    token: Optional[int] = None


@dataclass(frozen=True)
class AddZvol:
    """Make a volume: an empty one, or a clone of a snapshot of another one of the pool (`origin`: VOLUME[@SNAPSHOT]).

    With `importing` no host gets it until its content has come, by a transfer.
    """

    zpool: str
    zvol: str
    size_bytes: int = 0
    origin: Optional[str] = None
    importing: bool = False


@dataclass(frozen=True)
class UnmapZvol:
    """Take an image back from its host, with its changes. The answer comes when the NAS has them."""

    zvol: str


@dataclass(frozen=True)
class DelZvol:
    """Destroy an unmapped image; `force` although a host's copy has changes that the NAS has not."""

    zpool: str
    zvol: str
    force: bool = False
    grace_seconds: int = 0


@dataclass(frozen=True)
class ListZvols:
    """The images of the NAS by name, those behind `after`; as many as a message can carry, `more` says that there are
    others."""

    after: str = ""


@dataclass(frozen=True)
class GetZvolAttrs:
    """What is set for one image."""

    zvol: str


@dataclass(frozen=True)
class SetZvolAttrs:
    """Set some of them; None clears. `persistent` no: what a guest writes is thrown away at unmap."""

    zvol: str
    changes: Tuple[Tuple[str, Optional[str]], ...]


@dataclass(frozen=True)
class GetAttrs:
    """What is set for the whole NAS."""


@dataclass(frozen=True)
class SetAttrs:
    """Set some of that; None stores null."""

    attrs: Tuple[Tuple[str, Optional[str]], ...]


@dataclass(frozen=True)
class DelAttrs:
    """Forget some of that."""

    attrs: Tuple[str, ...]


@dataclass(frozen=True)
class PullZvol:
    """Bring a running guest's changes home now."""

    zvol: str


@dataclass(frozen=True)
class CancelZvol:
    """Undo a map that is under way, or forget an unmap that is still waiting."""

    zvol: str


@dataclass(frozen=True)
class RetryZvol:
    """What held the image has been mended: go on."""

    zvol: str


@dataclass(frozen=True)
class AbandonZvol:
    """Give up what only the image's host has. The reason is recorded."""

    zvol: str
    reason: str
    is_fenced: bool = False
    force: bool = False


@dataclass(frozen=True)
class ListSnapshots:
    """Snapshots of an image."""

    zvol: str


@dataclass(frozen=True)
class RestoreZvol:
    """Make an earlier snapshot the present content."""

    zvol: str
    snapshot: str


@dataclass(frozen=True)
class ListOperations:
    """What the NAS has under way, with its progress."""


@dataclass(frozen=True)
class OperationStatus:
    """How an operation went, or how far it is, by its number."""

    operation: str


# --- what a command asks of a host ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListDevices:
    """What the host has of images."""


@dataclass(frozen=True)
class ListInitiator:
    """The host's iSCSI name."""


class Action(NamedTuple):
    """One thing that can be asked: of whom, its fields, and the action of the answer."""

    name: str
    role: Role
    shape: Type[Any]
    reply: str


ACTIONS: Dict[str, Action] = {
    action.name: action
    for action in (
        Action("map_zvol", "nas", MapZvol, "zvol_mapped"),
        Action("add_zvol", "nas", AddZvol, "zvol_added"),
        Action("unmap_zvol", "nas", UnmapZvol, "zvol_unmapped"),
        Action("del_zvol", "nas", DelZvol, "zvol_deleted"),
        Action("list_zvols", "nas", ListZvols, "zvol_list"),
        Action("get_zvol_attrs", "nas", GetZvolAttrs, "get_zvol_attrs"),
        Action("set_zvol_attrs", "nas", SetZvolAttrs, "set_zvol_attrs"),
        Action("get_attrs", "nas", GetAttrs, "get_attrs"),
        Action("set_attrs", "nas", SetAttrs, "set_attrs"),
        Action("del_attrs", "nas", DelAttrs, "del_attrs"),
        Action("pull_zvol", "nas", PullZvol, "zvol_pulled"),
        Action("cancel_zvol", "nas", CancelZvol, "zvol_cancelled"),
        Action("retry_zvol", "nas", RetryZvol, "zvol_retried"),
        Action("abandon_zvol", "nas", AbandonZvol, "zvol_abandoned"),
        Action("list_snapshots", "nas", ListSnapshots, "snapshot_list"),
        Action("restore_zvol", "nas", RestoreZvol, "zvol_restored"),
        Action("list_operations", "nas", ListOperations, "operation_list"),
        Action("op_status", "nas", OperationStatus, "op_status"),
        Action("list_dev", "host", ListDevices, "dev_list"),
        Action("list_initiator", "host", ListInitiator, "zvol_list"),
    )
}
"""Every action of a command."""
