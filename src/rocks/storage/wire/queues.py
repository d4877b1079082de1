"""Names that all clients of the message broker share: queues, exchanges, and the owners of queues. Pure.

Every message goes to the exchange `EXCHANGE` with the name of its queue as the routing key. So the broker can control
for each user to which queues it may write (a topic permission) and from which it may read.
"""

from __future__ import annotations

import re
from typing import Optional

VIRTUAL_HOST = "img-storage"
EXCHANGE = "img-storage"
DEAD_EXCHANGE = "img-storage.dead"
DEAD_QUEUE = "img-storage.dead"
"""Queue of messages that no handler could process; see rocks.storage.broker.definitions for its bounds."""

PORT = 5671

NAS = "nas"
HOST = "host"
FRONTEND = "frontend"
"""Roles of a node in image storage; a node may have several. NAS and host daemons have a durable queue."""

_TOKEN = re.compile("[0-9a-f]{32}")


def nas_queue(node: str) -> str:
    """The durable queue of the NAS daemon on that node."""
    return f"img-storage.{NAS}.{node}"


def host_queue(node: str) -> str:
    """The durable queue of the host daemon on that node."""
    return f"img-storage.{HOST}.{node}"


def reply_queue(node: str, token: str) -> str:
    """The short-lived queue of one command on that node; `token` is 32 hexadecimal digits."""
    return f"img-storage.reply.{node}.{token}"


def queue_node(queue: str) -> Optional[str]:
    """The node whose daemon reads that durable queue; None for another queue."""
    for role in (NAS, HOST):
        start = f"img-storage.{role}."
        if queue.startswith(start):
            return queue[len(start) :] or None
    return None


def is_own_queue(queue: str, node: str) -> bool:
    """Whether answers to that node may go to that queue: a node may request no answers to queues of others."""
    if queue in (nas_queue(node), host_queue(node)):
        return True
    start = reply_queue(node, "")
    return queue.startswith(start) and _TOKEN.fullmatch(queue[len(start) :]) is not None
