"""This machine's way to the daemons of image storage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rocks.actions.reach_hosts import fleet_addresses
from rocks.database.attributes import resolve_attributes
from rocks.database.hosts import local_host
from rocks.imgstorage.client import StorageClient, broker_settings

if TYPE_CHECKING:
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
