"""The bus without a broker: what is refused unread, how the outbox is emptied, how long it waits between tries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from rocks.errors import BusyError, RocksError
from rocks.imgstorage.bus import (
    BrokerAwayError,
    Kind,
    Message,
    NotYetThereError,
    UndeliveredError,
    send_waiting,
)
from rocks.imgstorage.bus.backoff import Backoff
from rocks.imgstorage.bus.messages import LARGEST_BODY_BYTES, InvalidMessageError, read_delivery
from rocks.wire import queues

HOST = queues.host_queue("vmc-0-0")


def come_in(body: bytes | str = b"{}", **properties: Any) -> Any:
    """A message as the library has it."""
    given = {"user_id": "vmc-0-0", "message_id": "1", "type": "request", **properties}
    known = {name: value for name, value in given.items() if value is not None}
    return SimpleNamespace(body=body, properties=known, delivery_info={"redelivered": False})


def test_a_sound_message_is_read() -> None:
    delivery = read_delivery(come_in('{"a":"\u00fc"}', reply_to=HOST, correlation_id="7"))
    assert (delivery.sender, delivery.kind, delivery.is_redelivered) == ("vmc-0-0", Kind.REQUEST, False)
    assert delivery.body == '{"a":"\u00fc"}'.encode()
    reply = delivery.reply(b"done")
    assert reply is not None
    assert (reply.to, reply.correlation_id, reply.kind) == (HOST, "1", Kind.REPLY)
    assert read_delivery(come_in()).reply(b"done") is None


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"user_id": None}, "it has no user_id"),
        ({"message_id": None}, "sent it without a message_id"),
        ({"type": None}, "unknown type None"),
        ({"type": "gossip"}, "unknown type 'gossip'"),
        ({"reply_to": queues.host_queue("vmc-0-1")}, "not its queue"),
        ({"reply_to": "img-storage.reply.vmc-0-0.x"}, "not its queue"),
        ({"body": b"x" * (LARGEST_BODY_BYTES + 1)}, "bytes; at most 1048576 are allowed"),
    ],
)
def test_what_is_not_as_ours_are_is_not_read(properties: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidMessageError, match=why):
        read_delivery(come_in(**properties))


class MemoryOutbox:
    """An outbox as a store has it."""

    def __init__(self, *bodies: bytes) -> None:
        self.messages = [Message(HOST, body, message_id=body.decode()) for body in bodies]
        self.why: dict[str, RocksError] = {}

    def waiting(self, most: int, passing_over: Collection[str] = ()) -> Sequence[Message]:
        return [message for message in self.messages if message.to not in passing_over][:most]

    def sent(self, message_id: str) -> None:
        self.messages = [message for message in self.messages if message.message_id != message_id]

    def failed(self, message_id: str, why: RocksError) -> None:
        self.why[message_id] = why
        self.sent(message_id)


class PlayedBus:
    """Takes what it is sent, but for the bodies that it was told to refuse."""

    def __init__(self, **refusals: RocksError) -> None:
        self.refusals = refusals
        self.taken: list[bytes] = []

    def publish(self, message: Message) -> None:
        if message.message_id in self.refusals:
            raise self.refusals[message.message_id]
        self.taken.append(message.body)


def test_the_outbox_is_emptied_in_order_and_what_nobody_takes_does_not_stop_it() -> None:
    outbox, bus = MemoryOutbox(b"a", b"b", b"c"), PlayedBus(b=UndeliveredError("no queue"))
    assert send_waiting(bus, outbox) == 2
    assert (bus.taken, outbox.messages, str(outbox.why["b"])) == ([b"a", b"c"], [], "no queue")


def test_an_outage_leaves_the_rest_where_it_was() -> None:
    outbox, bus = MemoryOutbox(b"a", b"b", b"c"), PlayedBus(b=BrokerAwayError("away"))
    with pytest.raises(BusyError):
        send_waiting(bus, outbox)
    assert (bus.taken, [message.body for message in outbox.messages]) == ([b"a"], [b"b", b"c"])
    assert outbox.why == {}


def test_a_queue_that_is_not_there_yet_holds_up_nobody_else() -> None:
    """And keeps the order of what is meant for it."""
    outbox, bus = MemoryOutbox(b"a", b"b", b"c"), PlayedBus(a=NotYetThereError("not yet"))
    outbox.messages.insert(2, Message(queues.nas_queue("nas-0-0"), b"d", message_id="d"))
    with pytest.raises(BusyError):
        send_waiting(bus, outbox)
    assert (bus.taken, [message.body for message in outbox.messages]) == ([b"d"], [b"a", b"b", b"c"])
    bus.refusals.clear()
    assert send_waiting(bus, outbox) == 3
    assert bus.taken == [b"d", b"a", b"b", b"c"]


def test_pauses_grow_to_their_bound_and_begin_anew() -> None:
    backoff = Backoff(1.0, 8.0)
    pauses = [backoff.next_seconds() for _ in range(6)]
    for pause, most in zip(pauses, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.7 * most <= pause <= most
    backoff.reset()
    assert backoff.next_seconds() <= 1.0
