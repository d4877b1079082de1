"""This machine's way to the daemons of image storage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.actions.reach_hosts import fleet_addresses
from rocks.database.attributes import resolve_attributes
from rocks.database.hosts import local_host
from rocks.errors import HostError
from rocks.imgstorage.client import StorageClient, broker_settings

if TYPE_CHECKING:
    import ssl

    from rocks.database.connection import Database

SERVER_ATTRIBUTE = "RABBITMQ_Server"


def open_storage(database: Database) -> StorageClient:
    """A client of the NASes and hosts, to be used in a `with`; it connects at the first question.

    The broker is on the host that the attribute RABBITMQ_Server names, else on this machine; the environment may say
    otherwise. StateError when this machine has no certificate, UserError when this user may not read it.
    """
    node = local_host(database)
    found = resolve_attributes(database, [node])[node].get(SERVER_ATTRIBUTE)
    server = found.value if found is not None and found.value else node
    address = next((host.address for host in fleet_addresses(database, [server])), server)
    return StorageClient(broker_settings(node, server, address, os.environ))


def open_transfer(database: Database, nas: str) -> tuple[str, int, ssl.SSLContext]:
    """The address and port at which a NAS takes transfers, and this machine's certificate for it. HostError without."""
    from rocks.imgstorage.configuration import STREAM_PORT, storage_address
    from rocks.imgstorage.stream.transport import Identity, client_context

    found = resolve_attributes(database, [nas])[nas].get("imgstorage-network")
    network = found.value if found is not None and found.value else "local"
    folder = Path(os.environ.get("ROCKS_PKI_FOLDER") or "/etc/rocks/pki")
    pair = folder / "node.pem"
    try:
        address = storage_address(nas, network)
    except HostError:
        # no name service knows it: the database does
        address = fleet_addresses(database, [nas])[0].address
    return address, STREAM_PORT, client_context(Identity(pair, pair, folder / "ca.crt"))
