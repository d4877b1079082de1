"""Connect to image storage: find the message broker, open a client, and list from all nodes at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rocks.core.clock import utc_now
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.inventory.address_records import find_private_address, host_addresses
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.host_records import local_host
from rocks.inventory.loaded_host_records import load_hosts
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.networks import zone_of
from rocks.storage.client import StorageClient, asking, broker_settings, listing
from rocks.storage.volumes.nodes import storage_nodes
from rocks.storage.volumes.settings import BROKER_ATTRIBUTE, broker_host, storage_zone
from rocks.storage.wire import names
from rocks.storage.wire.requests import GetAttrs, GetZvolAttrs, ListCopies, ListDevices

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

    from rocks.database.connection import Database
    from rocks.storage.client import Query


def find_broker(database: Database, node: str) -> str:
    """The host of the broker, for the frontend `node`: the attribute RABBITMQ_Server, else the frontend itself.

    StateError when the attribute is not valid.
    """
    found = resolve_attributes(database, [node], BROKER_ATTRIBUTE).get(node, {})
    attributes = {name: resolved.value for name, resolved in found.items()}
    try:
        return broker_host(attributes, node)
    except UserError as error:
        raise StateError(
            f"the attribute {BROKER_ATTRIBUTE} of host {node} is not valid: {error}; set the host of the broker with "
            f"rocks set attr {BROKER_ATTRIBUTE} HOST, or remove the attribute to use the frontend"
        ) from None


def broker_address(database: Database, server: str) -> str:
    """The address of the broker on this host: that on the network private, where the host's profile has it listen.

    A host without one has that at which commands reach it, or its name.
    """
    found = find_private_address(database, server)
    if found is not None:
        return found.address
    return next((host.address for host in host_addresses(database, [server])), server)


def open_storage(database: Database) -> StorageClient:
    """A client of the NASes and hosts, to be used in a `with`; it connects at the first request.

    While it waits for them no transaction is open, unless its caller has uncommitted changes.
    The broker is on the host in the attribute RABBITMQ_Server, else on this machine; environment variables override it.
    StateError when the attribute is not valid or this machine has no certificate, UserError when this user may not read
    the certificate.
    """
    node = local_host(database)
    server = find_broker(database, node)
    address = broker_address(database, server)
    settings = broker_settings(node, server, address, os.environ, lambda: _is_issued(node))
    return StorageClient(settings, database.end_reading)


def _is_issued(node: str) -> bool:
    from rocks.storage.broker.broker import node_authority  # late: for an error

    return node_authority().has(node)


def open_transfer(database: Database, nas: str) -> tuple[str, int, ssl.SSLContext]:
    """The address and port for transfers to a NAS, and the TLS context with this machine's certificate.

    The address is in the storage zone of the NAS. StateError when it has no zone, HostError without a certificate.
    """
    from rocks.storage.configuration import STREAM_PORT, storage_address
    from rocks.storage.stream.transport import Identity, client_context

    (host,) = load_hosts(database, [nas])
    network = storage_zone(host, zone_of(database, PRIVATE_NETWORK))
    folder = Path(os.environ.get("ROCKS_PKI_FOLDER") or "/etc/rocks/pki")
    pair = folder / "node.pem"
    try:
        address = storage_address(nas, network)
    except HostError:
        # unknown to the name service: use the database
        address = host_addresses(database, [nas])[0].address
    return address, STREAM_PORT, client_context(Identity(pair, pair, folder / "ca.crt"))


# --- listings from all NASes or hosts at once: rows for a table, and errors by host --------------------------------


Answer = TypeVar("Answer")


class Listing(NamedTuple, Generic[Answer]):
    """A list: the header of its table, the query of a host, and the rows of its answer, without the host's own cell.

    `query` takes the host, and the volume in a list of one image; `rows` the time in UNIX seconds, too.
    """

    header: tuple[str, ...]
    query: Callable[..., Query[Answer]]
    rows: Callable[[Answer, int], Iterable[listing.Cells]]

    def read(
        self, database: Database, hosts: Sequence[str], *volume: str
    ) -> tuple[dict[str, list[listing.Cells]], dict[str, RocksError]]:
        """Host → its rows, and the errors of the hosts that did not answer."""
        if not hosts:
            return {}, {}
        with open_storage(database) as storage:
            answers = storage.ask_each({host: self.query(host, *volume) for host in hosts})
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
    lambda host: asking.new_query(host, ListDevices()),
    lambda found, now: (listing.device_cells(volume, row, now) for volume, row in sorted(found.items())),
)
COPIES = Listing(
    listing.COPIES,
    lambda host: asking.new_query(host, ListCopies()),
    lambda rows, now: (listing.copy_cells(row, now) for row in rows),
)
ATTRIBUTES = Listing(
    listing.ATTRIBUTES,
    lambda nas: asking.new_query(nas, GetAttrs()),
    lambda found, _: sorted(found.items()),
)
OPERATIONS = Listing(
    listing.OPERATIONS, asking.operations_of, lambda rows, _: map(listing.operation_cells, rows)
)
IMAGE_ATTRIBUTES = Listing(
    listing.IMAGE_ATTRIBUTES,
    lambda nas, zvol: asking.new_query(nas, GetZvolAttrs(zvol)),
    lambda found, _: [listing.image_attribute_cells(found)],
)
SNAPSHOTS = Listing(
    listing.SNAPSHOTS, asking.snapshots_of, lambda found, _: map(listing.snapshot_cells, found.rows)
)


def all_nases(database: Database) -> list[str]:
    """The NASes of the site, in the order of hosts."""
    return [node.name for node in storage_nodes(database) if names.NAS in node.roles]
