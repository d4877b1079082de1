"""Address of the broker and credentials of this node."""

from __future__ import annotations

from typing import Optional

from rocks.core.dataclasses import dataclass
from rocks.storage.wire import names


@dataclass(frozen=True)
class BusSettings:
    """How a node reaches the broker.

    `node` is the name in this node's certificate, by which the broker identifies it. `address` is the broker's
    address, `server_name` the name in the broker's certificate (the address when None). `pair_file` has this node's
    certificate and key, `authority_file` the authority's certificate; both PEM. `connect_deadline_seconds` bounds
    each step of connecting, `confirm_deadline_seconds` the wait for the confirmation of a message.
    """

    node: str
    address: str
    port: int = names.PORT
    server_name: Optional[str] = None
    pair_file: str = "/etc/rocks/pki/node.pem"
    authority_file: str = "/etc/rocks/pki/ca.crt"
    virtual_host: str = names.VIRTUAL_HOST
    heartbeat_seconds: int = 30
    connect_deadline_seconds: float = 10.0
    confirm_deadline_seconds: float = 13.0
