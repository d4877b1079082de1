"""Listings of image storage from all NASes or hosts at once: rows for a table, and errors by host."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rocks.core.clock import utc_now
from rocks.core.errors import RocksError
from rocks.storage.client import listing, questions
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.nodes import storage_nodes
from rocks.storage.volumes.plan import check_volume_name
from rocks.storage.wire import queues
from rocks.storage.wire.requests import GetZvolAttrs, ListCopies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.storage.client import Query

Answer = TypeVar("Answer")


class Listed(NamedTuple):
    """The header of a table, the rows of each host without the host's own cell, and errors by host."""

    header: tuple[str, ...]
    rows: dict[str, list[listing.Cells]]
    failed: dict[str, RocksError]


def all_nases(database: Database) -> list[str]:
    """The NASes of the site, in the order of hosts."""
    return [node.name for node in storage_nodes(database) if queues.NAS in node.roles]


def list_maps(database: Database, nases: Sequence[str]) -> Listed:
    """All images of the NASes, and their maps."""
    now = _now()
    return _list(
        database,
        listing.MAPS,
        {nas: questions.images_of(nas) for nas in nases},
        lambda rows: (listing.map_cells(row, now) for row in rows),
    )


def list_devices(database: Database, hosts: Sequence[str]) -> Listed:
    """The devices of images on the hosts."""
    now = _now()
    return _list(
        database,
        listing.DEVICES,
        {host: questions.devices_of(host) for host in hosts},
        lambda found: (listing.device_cells(volume, row, now) for volume, row in sorted(found.items())),
    )


def list_copies(database: Database, hosts: Sequence[str]) -> Listed:
    """Copies of images on the hosts that no guest uses."""
    now = _now()
    return _list(
        database,
        listing.COPIES,
        {host: questions.question(host, ListCopies()) for host in hosts},
        lambda rows: (listing.copy_cells(row, now) for row in rows),
    )


def list_attributes(database: Database, nases: Sequence[str]) -> Listed:
    """The attributes of the NASes."""
    return _list(
        database,
        listing.ATTRIBUTES,
        {nas: questions.attributes_of(nas) for nas in nases},
        lambda found: sorted(found.items()),
    )


def list_image_attributes(database: Database, nas: str, zvol: str) -> Listed:
    """The attributes of one image."""
    check_volume_name(zvol)
    return _list(
        database,
        listing.IMAGE_ATTRIBUTES,
        {nas: questions.question(nas, GetZvolAttrs(zvol))},
        lambda found: [listing.image_attribute_cells(found)],
    )


def list_snapshots(database: Database, nas: str, zvol: str) -> Listed:
    """The snapshots of one image, oldest first."""
    check_volume_name(zvol)
    return _list(
        database,
        listing.SNAPSHOTS,
        {nas: questions.snapshots_of(nas, zvol)},
        lambda rows: (listing.snapshot_cells(row) for row in rows),
    )


def list_operations(database: Database, nases: Sequence[str]) -> Listed:
    """The operations in progress on the NASes."""
    return _list(
        database,
        listing.OPERATIONS,
        {nas: questions.operations_of(nas) for nas in nases},
        lambda rows: (listing.operation_cells(row) for row in rows),
    )


def _list(
    database: Database,
    header: tuple[str, ...],
    queries: Mapping[str, Query[Answer]],
    cells: Callable[[Answer], Iterable[listing.Cells]],
) -> Listed:
    listed = Listed(header, {}, {})
    if not queries:
        return listed
    with open_storage(database) as storage:
        answers = storage.ask_each(queries)
    for node in queries:
        answer = answers[node]
        if isinstance(answer, RocksError):
            listed.failed[node] = answer
        else:
            listed.rows[node] = list(cells(answer))
    return listed


def _now() -> int:
    return int(utc_now().timestamp())
