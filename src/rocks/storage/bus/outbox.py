"""The outbox: messages of a daemon that wait in its own store until the broker is reachable."""

from __future__ import annotations

from typing import Collection, Dict, Protocol, Sequence

from rocks.core.errors import BusyError, RocksError
from rocks.storage.bus.link import NotYetThereError, QueueFullError
from rocks.storage.bus.messages import Message

_AT_ONCE = 100


class Sender(Protocol):
    """Sends messages: `Bus`."""

    def publish(self, message: Message) -> None:
        """See `Bus.publish`."""


class Outbox(Protocol):
    """The unsent messages in a store, oldest first; written in the transaction of the change that they report."""

    def waiting(self, most: int, passing_over: Collection[str] = ()) -> Sequence[Message]:
        """The oldest unsent messages, without those to the queues `passing_over`."""

    def sent(self, message_id: str) -> None:
        """The broker has confirmed the message."""

    def failed(self, message_id: str, why: RocksError) -> None:
        """The message can never be delivered: its queue does not exist, or this node may not write to it."""


def send_waiting(sender: Sender, outbox: Outbox) -> int:
    """Send the waiting messages in order; returns the number sent. BusyError when not all could be sent.

    That is while the broker is unreachable, or when a queue is full or does not exist yet: messages to other queues are
    sent all the same. Call it after a message was added, and from `on_connected`. A message is sent twice when the
    broker's confirmation was lost.
    """
    count = 0
    late: Dict[str, BusyError] = {}
    while True:
        messages = outbox.waiting(_AT_ONCE, tuple(late))
        if not messages:
            break
        count += sum(_send(sender, outbox, message, late) for message in messages)
    if late:
        raise next(iter(late.values()))
    return count


def _send(sender: Sender, outbox: Outbox, message: Message, late: Dict[str, BusyError]) -> bool:
    """Whether it was sent. `late` gets a queue that does not take messages yet, whose messages stay in order."""
    if message.to in late:
        return False
    try:
        sender.publish(message)
    except (NotYetThereError, QueueFullError) as error:
        late[message.to] = error
        return False
    except BusyError:
        raise
    except RocksError as error:
        outbox.failed(message.message_id, error)
        return False
    outbox.sent(message.message_id)
    return True
