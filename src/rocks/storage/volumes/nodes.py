"""Which hosts take part in image storage, and which may have a certificate for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.storage.broker.definitions import BrokerNode
from rocks.storage.volumes.settings import storage_roles, why_no_certificate
from rocks.storage.wire.names import NAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


def storage_nodes(database: Database) -> list[BrokerNode]:
    """The physical hosts with a role in image storage, and their roles."""
    found = _attributes(database, None)
    virtual = set(which_are_vms(database, list(found)))
    roles = {name: storage_roles(values) for name, values in found.items() if name not in virtual}
    return [BrokerNode(name, of_node) for name, of_node in roles.items() if of_node]


def is_storage_used(nodes: Sequence[BrokerNode]) -> bool:
    """Whether a NAS is among them: without one, no host needs a broker or a certificate."""
    return any(NAS in node.roles for node in nodes)


def hosts_without_right(database: Database, names: Sequence[str], broker: str) -> dict[str, str]:
    """Host → why it must not have a certificate (after its name), for those of the hosts that must not.

    `broker` is the host of the site's message broker, which needs no other role.
    """
    virtual = set(which_are_vms(database, names))
    reasons = {
        name: why_no_certificate(values, name in virtual, is_broker=name.lower() == broker.lower())
        for name, values in _attributes(database, names).items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _attributes(database: Database, names: Sequence[str] | None) -> dict[str, dict[str, str]]:
    return {
        host: {name: resolved.value for name, resolved in found.items()}
        for host, found in resolve_attributes(database, names).items()
    }
