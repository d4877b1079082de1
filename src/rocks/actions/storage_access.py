"""Connect to image storage: find the message broker, open a client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.actions.host_requests import fleet_addresses
from rocks.cluster.image_settings import BROKER_ATTRIBUTE, PRIVATE_NETWORK, broker_host, storage_zone
from rocks.database.attributes import resolve_attributes
from rocks.database.hosts import local_host
from rocks.database.subnets import zone_of
from rocks.database.vms import load_hosts
from rocks.errors import HostError, StateError, UserError
from rocks.imgstorage.client import StorageClient, broker_settings

if TYPE_CHECKING:
    import ssl

    from rocks.database.connection import Database


def find_broker(database: Database, node: str) -> str:
    """The broker's host, for the frontend `node`: that itself, unless the attribute RABBITMQ_Server says another.

    StateError when the attribute has a fault.
    """
    found = resolve_attributes(database, [node], BROKER_ATTRIBUTE).get(node, {})
    attributes = {name: resolved.value for name, resolved in found.items()}
    try:
        return broker_host(attributes, node)
    except UserError as error:
        raise StateError(
            f"the attribute {BROKER_ATTRIBUTE} of host {node} has a fault: {error}; name the broker's host with "
            f"rocks set attr {BROKER_ATTRIBUTE} HOST, or remove it for that of the frontend"
        ) from None


def open_storage(database: Database) -> StorageClient:
    """A client of the NASes and hosts, to be used in a `with`; it connects at the first question.

    The broker is on the host that the attribute RABBITMQ_Server names, else on this machine; the environment may say
    otherwise. StateError when the attribute has a fault or this machine has no certificate, UserError when this user
    may not read it.
    """
    node = local_host(database)
    server = find_broker(database, node)
    address = next((host.address for host in fleet_addresses(database, [server])), server)
    return StorageClient(broker_settings(node, server, address, os.environ))


def open_transfer(database: Database, nas: str) -> tuple[str, int, ssl.SSLContext]:
    """The address and port at which a NAS takes transfers, and this machine's certificate for it. HostError without.

    The address is in the zone that the NAS's own configuration has. StateError when there is none.
    """
    from rocks.imgstorage.configuration import STREAM_PORT, storage_address
    from rocks.imgstorage.stream.transport import Identity, client_context

    (host,) = load_hosts(database, [nas])
    network = storage_zone(host, zone_of(database, PRIVATE_NETWORK))
    folder = Path(os.environ.get("ROCKS_PKI_FOLDER") or "/etc/rocks/pki")
    pair = folder / "node.pem"
    try:
        address = storage_address(nas, network)
    except HostError:
        # no name service knows it: the database does
        address = fleet_addresses(database, [nas])[0].address
    return address, STREAM_PORT, client_context(Identity(pair, pair, folder / "ca.crt"))
