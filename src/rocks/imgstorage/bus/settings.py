"""Where the broker is and how this node comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from rocks.wire import queues


@dataclass(frozen=True)
class BusSettings:
    """A node's way to the broker.

    `node` is the name in this node's certificate, by which the broker knows it. `address` is where the broker
    answers, `server_name` what its certificate must say (the address when None). `pair_file` has this node's
    certificate and key, `authority_file` the authority's certificate; both PEM. `connect_deadline_seconds` bounds
    each step of coming in, `confirm_deadline_seconds` the broker's word that it has a message.
    """

    node: str
    address: str
    port: int = queues.PORT
    server_name: Optional[str] = None
    pair_file: str = "/etc/rocks/pki/node.pem"
    authority_file: str = "/etc/rocks/pki/ca.crt"
    virtual_host: str = queues.VIRTUAL_HOST
    heartbeat_seconds: int = 30
    connect_deadline_seconds: float = 10.0
    confirm_deadline_seconds: float = 13.0
