"""Messages over a real RabbitMQ: none is lost, repeated ones are recognizable, no wait lasts for ever."""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab import broker
from rocks.core.errors import BusyError, ToolError
from rocks.core.process import start_with_pipes
from rocks.storage.broker.definitions import LONGEST_QUEUE_BYTES, MAX_DELIVERIES
from rocks.storage.bus import (
    Asker,
    BrokerAwayError,
    Bus,
    Delivery,
    Kind,
    Message,
    NoAnswerError,
    RequestMessage,
    UndeliveredError,
)
from rocks.storage.bus import asker as bus_asker
from rocks.storage.bus.link import Link
from rocks.storage.wire import names
from tests.patience import patience
from tests.system.imgstorage.real_broker import RealBroker, Started, answer_of, answer_to
from tests.waiting import wait_until

SOURCES = Path(__file__).parents[3] / "src"


class Inbox:
    """A handler that stores the messages."""

    def __init__(self) -> None:
        self.come: queue.Queue[Delivery] = queue.Queue()

    def __call__(self, delivery: Delivery) -> None:
        self.come.put(delivery)

    def next(self) -> Delivery:
        return self.come.get(timeout=120)


def test_a_message_arrives_with_the_name_of_its_sender(real_broker: RealBroker, started: Started) -> None:
    nas, inbox = real_broker.fresh_nas(), Inbox()
    started(nas, names.nas_queue(nas), inbox)
    host = started("vmc-0-0", names.host_queue("vmc-0-0"), Inbox())
    message = Message(names.nas_queue(nas), b'{"action":"x"}', reply_to=names.host_queue("vmc-0-0"))
    host.publish(message)
    got = inbox.next()
    assert (got.sender, got.body, got.kind) == ("vmc-0-0", b'{"action":"x"}', Kind.REQUEST)
    assert (got.message_id, got.correlation_id) == (message.message_id, None)
    assert got.reply_to == names.host_queue("vmc-0-0")


def test_a_message_waits_for_a_stopped_daemon(real_broker: RealBroker, started: Started) -> None:
    nas, inbox = real_broker.fresh_nas(), Inbox()
    name = names.nas_queue(nas)
    started(nas, name, Inbox()).close()
    started("vmc-0-0").publish(Message(name, b"1"))
    started(nas, name, inbox)
    assert inbox.next().body == b"1"


def test_a_queue_that_does_not_exist_is_an_error(real_broker: RealBroker, started: Started) -> None:
    bus = started("head")
    with pytest.raises(UndeliveredError, match="Message could not be delivered.*img-storage.host.vmc-9-9"):
        bus.publish(Message(names.host_queue("vmc-9-9"), b"1"))
    with pytest.raises(UndeliveredError), Asker(real_broker.settings("head")) as asker:
        answer_of(asker, RequestMessage(names.host_queue("vmc-9-9"), b"1"), 10)


def test_the_unfinished_message_of_a_killed_daemon_is_delivered_again(
    real_broker: RealBroker, started: Started
) -> None:
    """The other end runs under the distribution's own Python and py-amqp, as on a host."""
    nas, inbox = real_broker.fresh_nas(), Inbox()
    name = names.nas_queue(nas)
    settings = real_broker.settings(nas)
    program = str(Path(__file__).with_name("reader_process.py"))
    arguments = [nas, settings.address, str(settings.port), settings.pair_file, settings.authority_file, name]
    reader = start_with_pipes(
        ["/usr/bin/python3", program, *arguments], {**os.environ, "PYTHONPATH": str(SOURCES)}
    )
    try:
        bus = started("head")
        message = Message(name, b"precious")

        def is_taken() -> bool:
            """By the queue that the reader declares."""
            with contextlib.suppress(UndeliveredError):
                bus.publish(message)
                return True
            return False

        wait_until(is_taken)
        assert reader.stdout.readline() == b"precious\n"
    finally:
        reader.kill()
        _, output = reader.communicate()
    assert output == b""
    started(nas, name, inbox)
    got = inbox.next()
    assert (got.body, got.message_id) == (b"precious", message.message_id)


def test_a_busy_handler_gets_the_message_again_and_others_stay_in_order(
    real_broker: RealBroker, started: Started
) -> None:
    nas = real_broker.fresh_nas()
    seen: queue.Queue[bytes] = queue.Queue()
    refused = []

    def handler(delivery: Delivery) -> None:
        if delivery.body == b"1" and not refused:
            refused.append(delivery)
            raise BusyError("not now")
        seen.put(delivery.body)

    daemon = started(nas, names.nas_queue(nas), handler)
    bus = started("head")
    for body in (b"1", b"2", b"3"):
        bus.publish(Message(names.nas_queue(nas), body))
    assert [seen.get(timeout=120) for _ in range(3)] == [b"2", b"3", b"1"]
    daemon.close()
    assert real_broker.ready(names.nas_queue(nas)) == 0, "what was handled does not come back"


def test_a_message_whose_handler_fails_is_dead_lettered(real_broker: RealBroker, started: Started) -> None:
    nas = real_broker.fresh_nas()
    seen: queue.Queue[bytes] = queue.Queue()

    def handler(delivery: Delivery) -> None:
        seen.put(delivery.body)
        if delivery.body == b"poison":
            raise ZeroDivisionError

    daemon = started(nas, names.nas_queue(nas), handler)
    before = real_broker.ready(names.DEAD_QUEUE)
    bus = started("head")
    bus.publish(Message(names.nas_queue(nas), b"poison"))
    bus.publish(Message(names.nas_queue(nas), b"sound"))
    assert [seen.get(timeout=120), seen.get(timeout=120)] == [b"poison", b"sound"]
    real_broker.wait_for(names.DEAD_QUEUE, before + 1)
    daemon.close()
    assert real_broker.ready(names.nas_queue(nas)) == 0


def test_dead_letters_have_a_size(real_broker: RealBroker, started: Started) -> None:
    """Of messages that are too large for any reader, which the broker takes, the oldest give way."""
    nas = real_broker.fresh_nas()
    seen: queue.Queue[bytes] = queue.Queue()
    started(nas, names.nas_queue(nas), lambda delivery: seen.put(delivery.body))
    bus = started("head")
    before = real_broker.ready(names.DEAD_QUEUE)
    for _ in range(40):
        bus.publish(Message(names.nas_queue(nas), bytes(LONGEST_QUEUE_BYTES // 32)))
    bus.publish(Message(names.nas_queue(nas), b"sound"))
    assert seen.get(timeout=120) == b"sound"
    try:
        wait_until(
            lambda: 31 <= real_broker.ready(names.DEAD_QUEUE) <= 32,
            problem=lambda: f"{real_broker.ready(names.DEAD_QUEUE)} dead letters, {before} before",
        )
    finally:  # other tests count them
        broker.control(real_broker.place, "purge_queue", "-p", names.VIRTUAL_HOST, names.DEAD_QUEUE)


def test_the_log_of_the_broker_has_a_size(real_broker: RealBroker) -> None:
    """Who connects and sends no TLS has it write 200 bytes each time, 500 times a second."""
    handlers = broker.control(
        real_broker.place, "eval", "[C || #{config := #{file := _} = C} <- logger:get_handler_config()]."
    )
    assert "max_no_bytes => 16777216" in handlers.text and "max_no_files => 4" in handlers.text


def test_a_message_that_kills_its_consumer_is_dead_lettered(real_broker: RealBroker) -> None:
    """After `MAX_DELIVERIES` deliveries."""
    nas = real_broker.fresh_nas()
    link = Link(real_broker.settings(nas))
    link.open()
    head = Link(real_broker.settings("head"))
    head.open()
    come: list[Any] = []
    try:
        link.ensure_daemon_queue(names.nas_queue(nas))
        link.consume(names.nas_queue(nas), 1, come.append)
        before = real_broker.ready(names.DEAD_QUEUE)
        head.publish(Message(names.nas_queue(nas), b"1"))
        times = 0
        while times <= MAX_DELIVERIES:
            assert link.read(patience(60))  # perhaps of a heartbeat only
            for message in come:
                times += 1
                link.requeue(message.delivery_tag)
            come.clear()
        real_broker.wait_for(names.DEAD_QUEUE, before + 1)
        link.read()
        assert (times, come) == (MAX_DELIVERIES + 1, [])
    finally:
        link.close()
        head.close()


def test_unacknowledged_messages_are_limited(real_broker: RealBroker, started: Started) -> None:
    """Sixteen: the others stay in the broker until the handler continues."""
    nas = real_broker.fresh_nas()
    go_on = threading.Event()
    at_work: queue.Queue[bytes] = queue.Queue()

    def handler(delivery: Delivery) -> None:
        at_work.put(delivery.body)
        go_on.wait(120)

    taker = started(nas, names.nas_queue(nas), handler)
    bus = started("head")
    for number in range(22):
        bus.publish(Message(names.nas_queue(nas), b"%d" % number))
    assert at_work.get(timeout=120) == b"0"
    wait_until(lambda: taker._work.qsize() == 15)
    real_broker.wait_for(names.nas_queue(nas), 6)  # prefetch bounds what lies in memory
    assert at_work.empty()
    go_on.set()
    assert len([at_work.get(timeout=120) for _ in range(21)]) == 21


def test_a_command_receives_its_answer(real_broker: RealBroker, started: Started) -> None:
    """Not what else comes with the number of its request; also after the broker has ended its idle connection."""
    nas = real_broker.fresh_nas()
    daemon: list[Bus] = []

    def handler(delivery: Delivery) -> None:
        answer = answer_to(delivery, b"done")
        daemon[0].publish(replace(answer, kind=Kind.REQUEST, message_id="other"))
        daemon[0].publish(answer)

    daemon.append(started(nas, names.nas_queue(nas), handler))
    with Asker(real_broker.settings("head")) as asker:
        for number in range(2):
            if number:
                real_broker.throw_out("head")
            request = RequestMessage(names.nas_queue(nas), b"map")
            answer = answer_of(asker, request, patience(60))
            assert (answer.body, answer.sender, answer.kind) == (b"done", nas, Kind.REPLY)
            assert answer.correlation_id == request.message_id


def test_a_command_waits_until_its_deadline_and_may_repeat_the_request(
    real_broker: RealBroker, started: Started
) -> None:
    nas, inbox = real_broker.fresh_nas(), Inbox()
    started(nas, names.nas_queue(nas), inbox)
    request = RequestMessage(names.nas_queue(nas), b"map")
    with Asker(real_broker.settings("head")) as asker:
        begun = time.monotonic()
        with pytest.raises(NoAnswerError, match=request.message_id):
            answer_of(asker, request, 0.5)
        assert time.monotonic() - begun > 0.4
        with pytest.raises(NoAnswerError):
            answer_of(asker, request, 0.5)
    assert [inbox.next().message_id, inbox.next().message_id] == [request.message_id] * 2


def test_an_answer_of_another_node_is_discarded(real_broker: RealBroker, started: Started) -> None:
    """vmc-0-1 knows the queue for replies and the id of the request, and answers in place of the NAS."""
    nas, inbox = real_broker.fresh_nas(), Inbox()
    started(nas, names.nas_queue(nas), inbox)
    other = started("vmc-0-1")

    def meddle() -> None:
        other.publish(answer_to(inbox.next(), b"done, trust me"))

    meddler = threading.Thread(target=meddle)
    meddler.start()
    with Asker(real_broker.settings("head")) as asker, pytest.raises(NoAnswerError):
        answer_of(asker, RequestMessage(names.nas_queue(nas), b"map"), 1)
    meddler.join()


def test_a_silent_node_is_named_once_while_a_command_waits(
    real_broker: RealBroker,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where it should answer at once; an operation may take its time."""
    monkeypatch.setattr(bus_asker, "SILENT_SECONDS", 0.1)
    nas = real_broker.fresh_nas()
    started(nas, names.nas_queue(nas), Inbox())
    with Asker(real_broker.settings("head")) as asker:
        for at_once in (False, True):
            assert not caplog.messages
            with pytest.raises(NoAnswerError):
                answer_of(asker, RequestMessage(names.nas_queue(nas), b"map", at_once), 3)
    assert caplog.messages == [f"{nas} has not answered for 0.1 s; waiting up to 3 s"]


def test_nothing_is_sent_without_a_broker(real_broker: RealBroker, closing: Callable[[object], None]) -> None:
    settings = real_broker.settings("head")
    nobody = type(settings)(**{**settings.__dict__, "port": 1})
    bus = Bus(nobody)
    closing(bus)
    bus.start()
    with pytest.raises(BrokerAwayError, match="there is no connection to the message broker"):
        bus.publish(Message(names.nas_queue("nas-0-0"), b"1"))
    with pytest.raises(BrokerAwayError, match="cannot reach the message broker at 127.0.0.1 port 1"):
        answer_of(Asker(nobody), RequestMessage(names.nas_queue("nas-0-0"), b"1"), 5)
    assert issubclass(BrokerAwayError, BusyError) and not issubclass(BrokerAwayError, ToolError)
