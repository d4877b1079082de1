"""The connection to the broker, whose library is made up here: `tests/system/imgstorage/test_bus.py` has a real one."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import amqp
import pytest

from rocks.core.errors import BusyError, RocksError
from rocks.storage.bus import (
    BrokerAwayError,
    BusSettings,
    Kind,
    Message,
    NotYetThereError,
    RefusedError,
    UndeliveredError,
)
from rocks.storage.bus import link as secure
from rocks.storage.bus.link import LARGEST_BODY_BYTES, Backoff, InvalidMessageError, Link, read_delivery
from rocks.storage.daemon import OutboxSender
from rocks.storage.store.file import OutboxMessage, StoreFile
from rocks.storage.wire import names


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        (
            amqp.exceptions.AccessRefused("no right"),
            RefusedError,
            "the broker rejects the request: .*no right",
        ),
        (OSError("reset by peer"), BrokerAwayError, "reset by peer"),
    ],
)
def test_a_connection_on_which_a_request_failed_is_not_used_again(
    fault: Exception, error: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker has closed the channel, or the connection: the next request needs another one."""
    connection = MagicMock(connected=True)
    connection.transport.having_timeout.return_value = nullcontext()
    connection.channel.return_value.basic_ack.side_effect = fault
    monkeypatch.setattr(secure, "connect", lambda _: connection)
    link = Link(BusSettings("vmc-0-0", "127.0.0.1"))
    link.open()
    with pytest.raises(error, match=text):
        link.acknowledge(1)
    connection.close.assert_called_once_with()


# The bus without a broker: invalid messages, sending of the outbox, waits between attempts.


HOST = names.host_queue("vmc-0-0")


def received(body: bytes | str = b"{}", **properties: Any) -> Any:
    """A received message of the library."""
    given = {"user_id": "vmc-0-0", "message_id": "1", "type": "request", **properties}
    known = {name: value for name, value in given.items() if value is not None}
    return SimpleNamespace(body=body, properties=known)


def test_a_valid_message_is_read() -> None:
    delivery = read_delivery(received('{"a":"\u00fc"}', reply_to=HOST, correlation_id="7"))
    assert (delivery.sender, delivery.kind) == ("vmc-0-0", Kind.REQUEST)
    assert (delivery.reply_to, delivery.correlation_id) == (HOST, "7")
    assert delivery.body == '{"a":"\u00fc"}'.encode()
    assert read_delivery(received()).reply_to is None


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"user_id": None}, "it has no user_id"),
        ({"message_id": None}, "sent it without a message_id"),
        ({"type": None}, "unknown type None"),
        ({"type": "gossip"}, "unknown type 'gossip'"),
        ({"reply_to": names.host_queue("vmc-0-1")}, "not its queue"),
        ({"reply_to": "img-storage.reply.vmc-0-0.x"}, "not its queue"),
        ({"body": b"x" * (LARGEST_BODY_BYTES + 1)}, "bytes; at most 1048576 are allowed"),
    ],
)
def test_an_invalid_message_is_rejected(properties: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidMessageError, match=why):
        read_delivery(received(**properties))


class FakeBus:
    """Accepts all messages except those with the given ids."""

    def __init__(self, **refusals: RocksError) -> None:
        self.refusals = refusals
        self.taken: list[bytes] = []

    def publish(self, message: Message) -> None:
        if message.message_id in self.refusals:
            raise self.refusals[message.message_id]
        self.taken.append(message.body)


class Outbox:
    """A store with these messages, and why some were lost."""

    def __init__(self, path: Path, bus: Any, *bodies: bytes) -> None:
        self.store = StoreFile(path, "")
        self.why: dict[str, str] = {}
        self.sender = OutboxSender(bus, self.store, self._lost, threading.Event())
        self.post(HOST, *bodies)

    def post(self, to: str, *bodies: bytes) -> None:
        for body in bodies:
            self.store.post(OutboxMessage(body.decode(), to, "request", None, None, body))

    def _lost(self, message: OutboxMessage, why: RocksError) -> None:
        self.why[message.message_id] = str(why)

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.store.waiting(9)]


def test_the_outbox_is_sent_in_order_and_undeliverable_messages_do_not_block_it(tmp_path: Path) -> None:
    bus = FakeBus(b=UndeliveredError("no queue"))
    outbox = Outbox(tmp_path / "store", bus, b"a", b"b", b"c")
    assert outbox.sender.send_waiting() == 2
    assert (bus.taken, outbox.bodies, outbox.why) == ([b"a", b"c"], [], {"b": "no queue"})


def test_an_outage_leaves_the_unsent_messages_in_the_outbox(tmp_path: Path) -> None:
    bus = FakeBus(b=BrokerAwayError("away"))
    outbox = Outbox(tmp_path / "store", bus, b"a", b"b", b"c")
    with pytest.raises(BusyError):
        outbox.sender.send_waiting()
    assert (bus.taken, outbox.bodies, outbox.why) == ([b"a"], [b"b", b"c"], {})


def test_a_queue_that_does_not_exist_yet_blocks_no_other_queue(tmp_path: Path) -> None:
    """Its own messages stay in order."""
    bus = FakeBus(a=NotYetThereError("not yet"))
    outbox = Outbox(tmp_path / "store", bus, b"a", b"b")
    outbox.post(names.nas_queue("nas-0-0"), b"d")
    outbox.post(HOST, b"c")
    with pytest.raises(BusyError):
        outbox.sender.send_waiting()
    assert (bus.taken, outbox.bodies) == ([b"d"], [b"a", b"b", b"c"])
    bus.refusals.clear()
    assert outbox.sender.send_waiting() == 3
    assert bus.taken == [b"d", b"a", b"b", b"c"]


def test_waits_grow_to_their_limit_and_restart_at_the_first() -> None:
    backoff = Backoff(1.0, 8.0)
    pauses = [backoff.next_seconds() for _ in range(6)]
    for pause, most in zip(pauses, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.7 * most <= pause <= most
    backoff.reset()
    assert backoff.next_seconds() <= 1.0


@pytest.mark.parametrize(
    ("name", "expected"), [(None, "10.2.0.1"), ("broker.example.org", "broker.example.org")]
)
def test_the_certificate_of_the_broker_is_checked_for_its_name_or_else_its_address(
    monkeypatch: pytest.MonkeyPatch, name: str | None, expected: str
) -> None:
    """TLS refuses a certificate of the site that is another node's."""
    asked: list[str] = []
    context = SimpleNamespace(
        wrap_socket=lambda plain, server_hostname, **more: asked.append(server_hostname)
    )
    monkeypatch.setattr(secure, "tls_context", lambda settings: context)
    transport = object.__new__(secure._SecureSocket)
    with socket.socket() as plain:
        transport._wrap_socket(plain, BusSettings("nas-0-0", "10.2.0.1", server_name=name))
    assert asked == [expected]
