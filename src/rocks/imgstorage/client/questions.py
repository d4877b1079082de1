"""What can be asked of NASes and hosts: each function makes a question, `StorageClient` asks it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Generic, Mapping, Optional, Sequence, Tuple, TypeVar

from rocks.imgstorage.client.answers import (
    DeviceRow,
    Fields,
    ImageAttributes,
    ImageRow,
    MadeVolume,
    OperationRow,
    SnapshotRow,
    read_attributes,
    read_devices,
    read_image_attributes,
    read_rows,
    read_text,
)
from rocks.wire import imgstorage as wire
from rocks.wire.imgstorage_messages import read_shape
from rocks.wire.queues import host_queue, nas_queue

Answer = TypeVar("Answer")

_ROLE_OF = {action.shape: action.role for action in wire.ACTIONS.values()}
_READING = (
    wire.ListZvols,
    wire.GetZvolAttrs,
    wire.GetAttrs,
    wire.ListSnapshots,
    wire.ListOperations,
    wire.OperationStatus,
    wire.ListDevices,
    wire.ListInitiator,
)


@dataclass(frozen=True)
class Wanted(Generic[Answer]):
    """A question to a node's daemon, and how its answer is read.

    `follow`, where an answer may be only the first part: the question that brings all of it, None when that was all.
    """

    node: str
    request: Any
    read: Callable[[Fields], Answer]
    follow: Optional[Callable[[Fields], Optional[Wanted[Answer]]]] = None

    @property
    def queue(self) -> str:
        """Where the daemon reads it."""
        is_nas = _ROLE_OF[type(self.request)] == "nas"
        return nas_queue(self.node) if is_nas else host_queue(self.node)

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return isinstance(self.request, _READING)

    @property
    def zvol(self) -> str:
        """The image it is about; '' when it is about none."""
        return str(getattr(self.request, "zvol", ""))


# --- of a NAS ------------------------------------------------------------------------------------------------------


def images_of(nas: str) -> Wanted[Tuple[ImageRow, ...]]:
    """All images, however many."""
    return _images_behind(nas, ())


def _images_behind(nas: str, known: Tuple[ImageRow, ...]) -> Wanted[Tuple[ImageRow, ...]]:
    """All images, of which the first are known already."""

    def read(fields: Fields) -> Tuple[ImageRow, ...]:
        return known + read_rows(ImageRow, fields)

    def follow(fields: Fields) -> Optional[Wanted[Tuple[ImageRow, ...]]]:
        rows = read(fields)
        return _images_behind(nas, rows) if fields.get("more") is True and len(rows) > len(known) else None

    return Wanted(nas, wire.ListZvols(known[-1].zvol if known else ""), read, follow)


def operations_of(nas: str) -> Wanted[Tuple[OperationRow, ...]]:
    """What is under way."""
    return Wanted(nas, wire.ListOperations(), partial(read_rows, OperationRow))


def snapshots_of(nas: str, zvol: str) -> Wanted[Tuple[SnapshotRow, ...]]:
    """Snapshots of an image."""
    return Wanted(nas, wire.ListSnapshots(zvol), partial(read_rows, SnapshotRow))


def attributes_of(nas: str) -> Wanted[Dict[str, Optional[str]]]:
    """What is set for the whole NAS."""
    return Wanted(nas, wire.GetAttrs(), read_attributes)


def set_attributes(nas: str, values: Mapping[str, Optional[str]]) -> Wanted[Dict[str, Optional[str]]]:
    """Set some of that; the answer is all of it."""
    return Wanted(nas, wire.SetAttrs(tuple(values.items())), read_attributes)


def forget_attributes(nas: str, names: Sequence[str]) -> Wanted[Dict[str, Optional[str]]]:
    """Forget some of that; the answer is what is left."""
    return Wanted(nas, wire.DelAttrs(tuple(names)), read_attributes)


def image_attributes_of(nas: str, zvol: str) -> Wanted[ImageAttributes]:
    """What is set for an image."""
    return Wanted(nas, wire.GetZvolAttrs(zvol), read_image_attributes)


def set_image_attributes(nas: str, zvol: str, values: Mapping[str, Optional[str]]) -> Wanted[ImageAttributes]:
    """Set some of that, None clears; the answer is all of it."""
    return Wanted(nas, wire.SetZvolAttrs(zvol, tuple(values.items())), read_image_attributes)


def map_image(nas: str, request: wire.MapZvol) -> Wanted[str]:
    """Give an image to a host; the answer is the path of its device there."""
    return Wanted(nas, request, partial(read_text, "bdev"))


def unmap_image(nas: str, zvol: str) -> Wanted[None]:
    """Take it back, with its changes."""
    return Wanted(nas, wire.UnmapZvol(zvol), _nothing)


def add_image(
    nas: str,
    zpool: str,
    zvol: str,
    *,
    size_bytes: int = 0,
    origin: Optional[str] = None,
    importing: bool = False,
) -> Wanted[MadeVolume]:
    """Make a volume: empty, a clone, or one whose content is to come."""
    return Wanted(
        nas, wire.AddZvol(zpool, zvol, size_bytes, origin, importing), partial(read_shape, MadeVolume)
    )


def delete_image(nas: str, zpool: str, zvol: str, force: bool) -> Wanted[None]:
    """Destroy it."""
    return Wanted(nas, wire.DelZvol(zpool, zvol, force), _nothing)


def pull_image(nas: str, zvol: str) -> Wanted[None]:
    """Bring a running guest's changes home."""
    return Wanted(nas, wire.PullZvol(zvol), _nothing)


def cancel_image(nas: str, zvol: str) -> Wanted[None]:
    """Undo a map that is under way, forget an unmap that waits."""
    return Wanted(nas, wire.CancelZvol(zvol), _nothing)


def retry_image(nas: str, zvol: str) -> Wanted[None]:
    """Let a held image go on."""
    return Wanted(nas, wire.RetryZvol(zvol), _nothing)


def abandon_image(nas: str, zvol: str, reason: str) -> Wanted[None]:
    """Give up what only its host has."""
    return Wanted(nas, wire.AbandonZvol(zvol, reason, force=True), _nothing)


def restore_image(nas: str, zvol: str, snapshot: str) -> Wanted[None]:
    """Make an earlier snapshot the content."""
    return Wanted(nas, wire.RestoreZvol(zvol, snapshot), _nothing)


# --- of a host -----------------------------------------------------------------------------------------------------


def devices_of(host: str) -> Wanted[Dict[str, DeviceRow]]:
    """What it has of images, by volume."""
    return Wanted(host, wire.ListDevices(), read_devices)


def initiator_of(host: str) -> Wanted[str]:
    """Its iSCSI name."""
    return Wanted(host, wire.ListInitiator(), partial(read_text, "body"))


def _nothing(fields: Fields) -> None:
    del fields
