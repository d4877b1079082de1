"""Messages as sent and as received, and the check of a received message before any handler reads it."""

from __future__ import annotations

import enum
import uuid
from dataclasses import field
from typing import Any, Optional

from rocks.core.dataclasses import dataclass
from rocks.storage.wire import names

LARGEST_BODY_BYTES = 1024 * 1024
CONTENT_TYPE = "application/json"


class Kind(enum.Enum):
    """The kind of a message, seen from the requester; on the wire the property `type`."""

    REQUEST = "request"
    REPLY = "reply"


def new_message_id() -> str:
    """A unique id for a message."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Message:
    """A message to a queue (`rocks.storage.wire.names` has the names).

    `correlation_id` is the `message_id` of the request that is answered; `reply_to` the queue for answers, one of
    the sender's own.
    """

    to: str
    body: bytes
    kind: Kind = Kind.REQUEST
    message_id: str = field(default_factory=new_message_id)
    correlation_id: Optional[str] = None
    reply_to: Optional[str] = None


@dataclass(frozen=True)
class Delivery:
    """A received message. `sender` is the node that the broker authenticated; `reply_to` is one of its own queues."""

    sender: str
    body: bytes
    message_id: str
    correlation_id: Optional[str]
    reply_to: Optional[str]
    kind: Kind


class InvalidMessageError(Exception):
    """A message that no handler may read; the text is the reason."""


def read_delivery(message: Any) -> Delivery:
    """The received message, from that of the library. InvalidMessageError when a property is missing or wrong.

    The broker checks a `user_id` against the certificate, but accepts messages without one.
    """
    properties = message.properties
    sender = properties.get("user_id")
    if not sender:
        raise InvalidMessageError("it has no user_id")
    message_id = properties.get("message_id")
    if not message_id:
        raise InvalidMessageError(f"{sender} sent it without a message_id")
    reply_to = properties.get("reply_to") or None
    if reply_to is not None and not names.is_own_queue(reply_to, sender):
        raise InvalidMessageError(f"{sender} requests an answer to {reply_to}, which is not its queue")
    try:
        kind = Kind(properties.get("type"))
    except ValueError:
        raise InvalidMessageError(f"{sender} sent the unknown type {properties.get('type')!r}") from None
    body = message.body.encode("utf-8") if isinstance(message.body, str) else bytes(message.body)
    if len(body) > LARGEST_BODY_BYTES:
        raise InvalidMessageError(
            f"{sender} sent {len(body)} bytes; at most {LARGEST_BODY_BYTES} are allowed"
        )
    correlation_id = properties.get("correlation_id") or None
    return Delivery(sender, body, message_id, correlation_id, reply_to, kind)
