"""Listings of image storage from all NASes or hosts at once: rows for a table, and errors by host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rocks.core.clock import utc_now
from rocks.core.errors import RocksError
from rocks.storage.client import asking, listing
from rocks.storage.volumes.access import open_storage
from rocks.storage.volumes.nodes import storage_nodes
from rocks.storage.wire import names
from rocks.storage.wire.requests import GetAttrs, GetZvolAttrs, ListCopies, ListDevices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rocks.database.connection import Database
    from rocks.storage.client import Query

Answer = TypeVar("Answer")


class Listing(NamedTuple, Generic[Answer]):
    """A list: the header of its table, the question to a host, and the rows of its answer, without the host's own cell.

    `question` takes the host, and the volume in a list of one image; `rows` the time in UNIX seconds, too.
    """

    header: tuple[str, ...]
    question: Callable[..., Query[Answer]]
    rows: Callable[[Answer, int], Iterable[listing.Cells]]

    def read(
        self, database: Database, hosts: Sequence[str], *volume: str
    ) -> tuple[dict[str, list[listing.Cells]], dict[str, RocksError]]:
        """Host → its rows, and the errors of the hosts that did not answer."""
        if not hosts:
            return {}, {}
        with open_storage(database) as storage:
            answers = storage.ask_each({host: self.question(host, *volume) for host in hosts})
        now, found, failed = int(utc_now().timestamp()), {}, {}
        for host in hosts:
            answer = answers[host]
            if isinstance(answer, RocksError):
                failed[host] = answer
            else:
                found[host] = list(self.rows(answer, now))
        return found, failed


MAPS = Listing(
    listing.MAPS,
    asking.images_of,
    lambda rows, now: (listing.map_cells(row, now) for row in rows),
)
DEVICES = Listing(
    listing.DEVICES,
    lambda host: asking.question(host, ListDevices()),
    lambda found, now: (listing.device_cells(volume, row, now) for volume, row in sorted(found.items())),
)
COPIES = Listing(
    listing.COPIES,
    lambda host: asking.question(host, ListCopies()),
    lambda rows, now: (listing.copy_cells(row, now) for row in rows),
)
ATTRIBUTES = Listing(
    listing.ATTRIBUTES,
    lambda nas: asking.question(nas, GetAttrs()),
    lambda found, _: sorted(found.items()),
)
OPERATIONS = Listing(
    listing.OPERATIONS, asking.operations_of, lambda rows, _: map(listing.operation_cells, rows)
)
IMAGE_ATTRIBUTES = Listing(
    listing.IMAGE_ATTRIBUTES,
    lambda nas, zvol: asking.question(nas, GetZvolAttrs(zvol)),
    lambda found, _: [listing.image_attribute_cells(found)],
)
SNAPSHOTS = Listing(
    listing.SNAPSHOTS, asking.snapshots_of, lambda found, _: map(listing.snapshot_cells, found.rows)
)


def all_nases(database: Database) -> list[str]:
    """The NASes of the site, in the order of hosts."""
    return [node.name for node in storage_nodes(database) if names.NAS in node.roles]
