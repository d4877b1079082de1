"""Which host the message broker of images is on, as this machine's attributes say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.image_settings import BROKER_ATTRIBUTE, broker_host
from rocks.database.attributes import resolve_attributes
from rocks.errors import StateError, UserError

if TYPE_CHECKING:
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
