"""The gateway to the message broker. It transports bytes and does not interpret them.

`Bus`     a daemon's end: reads one durable queue and sends, until it is closed
`Asker`   a command's end: sends requests, waits for the answers with a deadline, repeats them after an outage

Promises: a message that `publish` accepted without an error is on the broker's disk, in its queue. A handler gets a
message at least once; the message leaves the queue after the handler has returned, so the handler's effect must be on
disk by then. A broken connection can deliver a message twice, so handlers recognize messages by their `message_id`. The
sender of a message is the user that the broker authenticated by certificate.
"""

from rocks.storage.bus.asker import Asker, NoAnswerError, RequestMessage
from rocks.storage.bus.link import (
    BrokerAwayError,
    BusSettings,
    Delivery,
    Kind,
    Message,
    NotYetThereError,
    QueueFullError,
    RefusedError,
    UndeliveredError,
    new_message_id,
)
from rocks.storage.bus.service import Bus

__all__ = [
    "Asker",
    "BrokerAwayError",
    "Bus",
    "BusSettings",
    "Delivery",
    "Kind",
    "Message",
    "NoAnswerError",
    "NotYetThereError",
    "RequestMessage",
    "QueueFullError",
    "RefusedError",
    "UndeliveredError",
    "new_message_id",
]
