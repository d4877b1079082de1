"""A message on its way out and on its way in, and what is refused before anybody reads it."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, field
from typing import Any, Optional

from rocks.wire import queues

LARGEST_BODY_BYTES = 1024 * 1024
CONTENT_TYPE = "application/json"


class Kind(enum.Enum):
    """What a message is to the one who asked; on the wire the property `type`."""

    REQUEST = "request"
    REPLY = "reply"
    EVENT = "event"


def new_message_id() -> str:
    """An id for a message that no other message has."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Message:
    """A message to a queue (`rocks.wire.queues` has the names).

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
    """A message that has come. `sender` is the node that the broker let in; `reply_to` is one of the sender's own."""

    sender: str
    body: bytes
    message_id: str
    correlation_id: Optional[str]
    reply_to: Optional[str]
    kind: Kind
    is_again: bool

    def reply(self, body: bytes, kind: Kind = Kind.REPLY) -> Optional[Message]:
        """An answer to this message; None when its sender wants none."""
        if self.reply_to is None:
            return None
        return Message(self.reply_to, body, kind, correlation_id=self.message_id)


class UnfitError(Exception):
    """A message that nobody shall read; the text says why."""


def read_delivery(message: Any) -> Delivery:
    """What has come in, from the library's message. UnfitError when it is not as ours are.

    The broker checks `user_id` against the certificate when it is given, but lets messages without it pass.
    """
    properties = message.properties
    sender = properties.get("user_id")
    if not sender:
        raise UnfitError("it does not say who sent it")
    message_id = properties.get("message_id")
    if not message_id:
        raise UnfitError(f"{sender} gave it no message_id")
    reply_to = properties.get("reply_to") or None
    if reply_to is not None and not queues.is_own_queue(reply_to, sender):
        raise UnfitError(f"{sender} wants it answered to {reply_to}, which is not its queue")
    try:
        kind = Kind(properties.get("type"))
    except ValueError:
        raise UnfitError(f"{sender} sent something of the unknown type {properties.get('type')!r}") from None
    body = message.body.encode("utf-8") if isinstance(message.body, str) else bytes(message.body)
    if len(body) > LARGEST_BODY_BYTES:
        raise UnfitError(f"{sender} sent {len(body)} bytes, {LARGEST_BODY_BYTES} are allowed")
    correlation_id = properties.get("correlation_id") or None
    is_again = bool(message.delivery_info.get("redelivered"))
    return Delivery(sender, body, message_id, correlation_id, reply_to, kind, is_again)
