"""What a daemon has to say and has not yet been able to: kept in its own store, sent when the broker is there."""

from __future__ import annotations

from typing import Collection, Dict, Protocol, Sequence

from rocks.errors import BusyError, RocksError
from rocks.imgstorage.bus.link import NotYetThereError, QueueFullError
from rocks.imgstorage.bus.messages import Message

_AT_ONCE = 100


class Sender(Protocol):
    """What can send: `Bus`."""

    def publish(self, message: Message) -> None:
        """See `Bus.publish`."""


class Outbox(Protocol):
    """The store's list of messages that are to be sent, oldest first; written together with what they tell of."""

    def waiting(self, most: int, passing_over: Collection[str] = ()) -> Sequence[Message]:
        """The oldest messages that are not yet sent, but for those to some queues."""

    def sent(self, message_id: str) -> None:
        """The broker has it."""

    def failed(self, message_id: str, why: RocksError) -> None:
        """It cannot be delivered, however often it is tried: nobody has that queue, or we may not write there."""


def send_waiting(sender: Sender, outbox: Outbox) -> int:
    """Send what waits, in order; returns how many were sent. BusyError when not all could be sent now.

    That is while the broker is away or a queue full, and at the end when messages were passed over because their
    queue is not there yet: those to other queues are sent meanwhile. To be called when something is put in, and from
    `on_connected`. A message may be sent twice: when the broker's word for it was lost.
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
    """Whether it was sent. `late` gets the queue that is not there yet; what is meant for it keeps its order."""
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
