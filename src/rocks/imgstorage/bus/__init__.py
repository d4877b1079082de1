"""The one door to the message broker; it carries bytes and knows nothing of what they mean.

`Bus`     a daemon's end: reads one durable queue, sends, stays for ever
`Asker`   a command's end: asks, waits for answers with a deadline, asks again when the broker comes back
`Outbox`  what a daemon keeps until it is sent

Promises: a message that `publish` took without an error is on the broker's disk, in the queue it was meant for. A
message is given to a handler at least once, and taken from the queue only after the handler has returned: what it
returns for must be on disk by then. Twice is possible whenever a connection breaks, so handlers know messages by
their `message_id`. The sender of a message is the user that the broker let in by certificate.
"""

from rocks.imgstorage.bus.asker import Asker, NoAnswerError, Question
from rocks.imgstorage.bus.link import (
    BrokerAwayError,
    NotYetThereError,
    QueueFullError,
    RefusedError,
    UndeliveredError,
)
from rocks.imgstorage.bus.messages import Delivery, Kind, Message, new_message_id
from rocks.imgstorage.bus.outbox import Outbox, send_waiting
from rocks.imgstorage.bus.service import Bus, Limits
from rocks.imgstorage.bus.settings import BusSettings

__all__ = [
    "Asker",
    "BrokerAwayError",
    "Bus",
    "BusSettings",
    "Delivery",
    "Kind",
    "Limits",
    "Message",
    "NoAnswerError",
    "NotYetThereError",
    "Outbox",
    "Question",
    "QueueFullError",
    "RefusedError",
    "UndeliveredError",
    "new_message_id",
    "send_waiting",
]
