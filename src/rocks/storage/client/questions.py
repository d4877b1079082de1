"""Requests to NASes and hosts: each function makes a query, `StorageClient` sends it."""

from __future__ import annotations

from typing import Any, Callable, Generic, Optional, Tuple, TypeVar

from rocks.core.dataclasses import dataclass
from rocks.storage.wire import requests as wire
from rocks.storage.wire.names import host_queue, nas_queue
from rocks.storage.wire.replies import (
    Fields,
    ImageRow,
    OperationRow,
    SnapshotsOfImage,
    read_rows,
)
from rocks.storage.wire.requests import action_of

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Query(Generic[Answer]):
    """A request to a node's daemon, and how its answer is read.

    `follow` makes, from an answer that may be a part only, the query for all of it; None when it was complete.
    """

    node: str
    request: wire.Asks[Any]
    read: Callable[[Fields], Answer]
    follow: Optional[Callable[[Fields], Optional[Query[Answer]]]] = None

    @property
    def queue(self) -> str:
        """The daemon's queue."""
        is_nas = action_of(self.request).role == "nas"
        return nas_queue(self.node) if is_nas else host_queue(self.node)

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return action_of(self.request).effect == "reads"

    @property
    def zvol(self) -> str:
        """The image concerned; '' without one."""
        return str(getattr(self.request, "zvol", ""))


def question(node: str, request: wire.Asks[Answer]) -> Query[Answer]:
    """A request, with the answer that the table of actions declares."""
    return Query(node, request, action_of(request).read)


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
    return question(nas, wire.ListOperations())


def snapshots_of(nas: str, zvol: str) -> Query[SnapshotsOfImage]:
    """Snapshots of an image."""
    return question(nas, wire.ListSnapshots(zvol))


def unmap_image(nas: str, zvol: str) -> Query[None]:
    """Unmap it, and write its changes back."""
    return question(nas, wire.UnmapZvol(zvol))


def cancel_image(nas: str, zvol: str) -> Query[None]:
    """Undo a map or a move in progress, or cancel a waiting unmap."""
    return question(nas, wire.CancelZvol(zvol))


# --- of a host -----------------------------------------------------------------------------------------------------


def initiator_of(host: str) -> Query[str]:
    """Its iSCSI name."""
    return question(host, wire.ListInitiator())
