"""Requests to NASes and hosts: each function makes a query, `StorageClient` sends it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Generic, Mapping, Optional, Sequence, Tuple, TypeVar

from rocks.storage.client.answers import (
    BaseRow,
    CopyRow,
    DeviceRow,
    Fields,
    HeldRow,
    ImageAttributes,
    ImageRow,
    MadeBase,
    MadeClones,
    MadeVolume,
    OperationRow,
    Relatives,
    SnapshotRow,
    SnapshotsOfImage,
    read_attributes,
    read_devices,
    read_image_attributes,
    read_names,
    read_relatives,
    read_rows,
    read_snapshots,
    read_text,
)
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import read_shape
from rocks.storage.wire.queues import host_queue, nas_queue

Answer = TypeVar("Answer")

_ROLE_OF = {action.shape: action.role for action in wire.ACTIONS.values()}
_READING = (
    wire.ListZvols,
    wire.ListBases,
    wire.GetZvolAttrs,
    wire.GetAttrs,
    wire.ListSnapshots,
    wire.ListOperations,
    wire.OperationStatus,
    wire.ListDevices,
    wire.ListCopies,
    wire.ListInitiator,
)


@dataclass(frozen=True)
class Query(Generic[Answer]):
    """A request to a node's daemon, and how its answer is read.

    `follow` makes, from an answer that may be a part only, the query for all of it; None when it was complete.
    """

    node: str
    request: Any
    read: Callable[[Fields], Answer]
    follow: Optional[Callable[[Fields], Optional[Query[Answer]]]] = None

    @property
    def queue(self) -> str:
        """The daemon's queue."""
        is_nas = _ROLE_OF[type(self.request)] == "nas"
        return nas_queue(self.node) if is_nas else host_queue(self.node)

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return isinstance(self.request, _READING)

    @property
    def zvol(self) -> str:
        """The image concerned; '' without one."""
        return str(getattr(self.request, "zvol", ""))


# --- of a NAS ------------------------------------------------------------------------------------------------------


def images_of(nas: str) -> Query[Tuple[ImageRow, ...]]:
    """All images, in as many messages as needed."""
    return _images_behind(nas, ())


def _images_behind(nas: str, known: Tuple[ImageRow, ...]) -> Query[Tuple[ImageRow, ...]]:
    """All images; the first ones are known."""

    def read(fields: Fields) -> Tuple[ImageRow, ...]:
        return known + read_rows(ImageRow, fields)

    def follow(fields: Fields) -> Optional[Query[Tuple[ImageRow, ...]]]:
        rows = read(fields)
        return _images_behind(nas, rows) if fields.get("more") is True and len(rows) > len(known) else None

    return Query(nas, wire.ListZvols(known[-1].zvol if known else ""), read, follow)


def operations_of(nas: str) -> Query[Tuple[OperationRow, ...]]:
    """Operations in progress."""
    return Query(nas, wire.ListOperations(), partial(read_rows, OperationRow))


def snapshots_of(nas: str, zvol: str) -> Query[Tuple[SnapshotRow, ...]]:
    """Snapshots of an image."""
    return Query(nas, wire.ListSnapshots(zvol), partial(read_rows, SnapshotRow))


def snapshots_of_machine(nas: str, zpool: str, zvol: str) -> Query[SnapshotsOfImage]:
    """Snapshots of an image, and whose it is; also of a volume that has no record yet."""
    return Query(nas, wire.ListSnapshots(zvol, zpool), read_snapshots)


def relatives_of(nas: str, zvol: str) -> Query[Relatives]:
    """What an image is a clone of, and the clones of it, by one request."""
    return Query(nas, wire.ListSnapshots(zvol), read_relatives)


def attributes_of(nas: str) -> Query[Dict[str, Optional[str]]]:
    """The attributes of the whole NAS."""
    return Query(nas, wire.GetAttrs(), read_attributes)


def set_attributes(nas: str, values: Mapping[str, Optional[str]]) -> Query[Dict[str, Optional[str]]]:
    """Set some of them; the answer has all."""
    return Query(nas, wire.SetAttrs(tuple(values.items())), read_attributes)


def forget_attributes(nas: str, names: Sequence[str]) -> Query[Dict[str, Optional[str]]]:
    """Remove some of them; the answer has the others."""
    return Query(nas, wire.DelAttrs(tuple(names)), read_attributes)


def image_attributes_of(nas: str, zvol: str) -> Query[ImageAttributes]:
    """The attributes of an image."""
    return Query(nas, wire.GetZvolAttrs(zvol), read_image_attributes)


def set_image_attributes(nas: str, zvol: str, values: Mapping[str, Optional[str]]) -> Query[ImageAttributes]:
    """Set some of them, None clears one; the answer has all."""
    return Query(nas, wire.SetZvolAttrs(zvol, tuple(values.items())), read_image_attributes)


def map_image(nas: str, request: wire.MapZvol) -> Query[str]:
    """Map an image to a host; the answer is the path of its device there."""
    return Query(nas, request, partial(read_text, "bdev"))


def unmap_image(nas: str, zvol: str) -> Query[None]:
    """Unmap it, and write its changes back."""
    return Query(nas, wire.UnmapZvol(zvol), _nothing)


def add_image(
    nas: str,
    zpool: str,
    zvol: str,
    *,
    size_bytes: int = 0,
    origin: Optional[str] = None,
    importing: bool = False,
) -> Query[MadeVolume]:
    """Make a volume: empty, a clone, or one whose content will be imported."""
    return Query(
        nas, wire.AddZvol(zpool, zvol, size_bytes, origin, importing), partial(read_shape, MadeVolume)
    )


def add_base(nas: str, request: wire.AddBase) -> Query[MadeBase]:
    """Make the base volume of an image of the library, or find it complete."""
    return Query(nas, request, partial(read_shape, MadeBase))


def bases_of(nas: str) -> Query[Tuple[BaseRow, ...]]:
    """All base volumes."""
    return Query(nas, wire.ListBases(), partial(read_rows, BaseRow))


def clone_images(nas: str, request: wire.CloneZvols) -> Query[MadeClones]:
    """Make many clones."""
    return Query(nas, request, partial(read_shape, MadeClones))


def freeze_images(nas: str, zpool: str, zvols: Sequence[str]) -> Query[Mapping[str, str]]:
    """Volume → a snapshot of its present content."""
    return Query(nas, wire.FreezeZvols(zpool, tuple(zvols)), read_names)


def accept_image(
    nas: str, zpool: str, zvol: str, source: str, image_id: str, needed_bytes: int
) -> Query[None]:
    """Expect an image that another NAS moves there."""
    return Query(nas, wire.AcceptZvol(zpool, zvol, source, image_id, needed_bytes), _nothing)


def move_image(nas: str, zvol: str, target: str, zpool: str, grace_seconds: int) -> Query[None]:
    """Move it to another NAS, which expects it."""
    return Query(nas, wire.MoveZvol(zvol, target, zpool, grace_seconds), _nothing)


def grow_image(nas: str, request: wire.GrowZvol) -> Query[None]:
    """Give it a larger size."""
    return Query(nas, request, _nothing)


def delete_image(nas: str, request: wire.DelZvol) -> Query[None]:
    """Destroy it after its grace period."""
    return Query(nas, request, _nothing)


def undelete_image(nas: str, zvol: str) -> Query[None]:
    """Restore it before the end of its grace period."""
    return Query(nas, wire.UndeleteZvol(zvol), _nothing)


def pull_image(nas: str, zvol: str) -> Query[None]:
    """Write a running guest's changes back."""
    return Query(nas, wire.PullZvol(zvol), _nothing)


def cancel_image(nas: str, zvol: str) -> Query[None]:
    """Undo a map or a move in progress, or cancel a waiting unmap."""
    return Query(nas, wire.CancelZvol(zvol), _nothing)


def retry_image(nas: str, zvol: str) -> Query[None]:
    """Continue with a blocked image."""
    return Query(nas, wire.RetryZvol(zvol), _nothing)


def abandon_image(nas: str, zvol: str, reason: str) -> Query[None]:
    """Abandon the changes that only its host has."""
    return Query(nas, wire.AbandonZvol(zvol, reason, force=True), _nothing)


def restore_image(nas: str, request: wire.RestoreZvol) -> Query[None]:
    """Make an earlier snapshot the content."""
    return Query(nas, request, _nothing)


def hold_snapshot(nas: str, request: wire.HoldSnapshot) -> Query[HeldRow]:
    """Hold a snapshot of an image."""
    return Query(nas, request, partial(read_shape, HeldRow))


def release_snapshot(nas: str, request: wire.ReleaseSnapshot) -> Query[None]:
    """Release the holds of a snapshot of a machine."""
    return Query(nas, request, _nothing)


# --- of a host -----------------------------------------------------------------------------------------------------


def devices_of(host: str) -> Query[Dict[str, DeviceRow]]:
    """The host's parts of images, by volume."""
    return Query(host, wire.ListDevices(), read_devices)


def copies_of(host: str) -> Query[Tuple[CopyRow, ...]]:
    """Copies of images on the host that no guest uses."""
    return Query(host, wire.ListCopies(), partial(read_rows, CopyRow))


def remove_copy(host: str, volume: str, force: bool) -> Query[None]:
    """Destroy one of them."""
    return Query(host, wire.DelCopy(volume, force), _nothing)


def initiator_of(host: str) -> Query[str]:
    """Its iSCSI name."""
    return Query(host, wire.ListInitiator(), partial(read_text, "body"))


def _nothing(fields: Fields) -> None:
    del fields
