"""A broker that is killed, stopped or full: accepted messages survive, others are errors, all clients reconnect."""

import json
import os
import queue
import signal
import threading
from pathlib import Path

import pytest

from lab import broker
from rocks.core.errors import BusyError, RocksError
from rocks.storage.bus import (
    Asker,
    BrokerAwayError,
    Delivery,
    Message,
    QueueFullError,
    RequestMessage,
)
from rocks.storage.wire import names
from tests.patience import patience
from tests.system.imgstorage.real_broker import RealBroker, Started, answer_of, answer_to
from tests.unit.storage.bus.test_link import Outbox
from tests.waiting import wait_until


def test_a_killed_broker_restarts_with_all_messages(
    real_broker: RealBroker, started: Started, tmp_path: Path
) -> None:
    """Messages wait in it, an outbox waits for it, and a waiting command gets its answer."""
    sleeper, nas = real_broker.fresh_nas(), real_broker.fresh_nas()
    come: queue.Queue[Delivery] = queue.Queue()
    started(sleeper, names.nas_queue(sleeper), come.put).close()

    host = started("vmc-0-0", return_seconds=8)
    outbox = Outbox(tmp_path / "store", host)
    asked: queue.Queue[Delivery] = queue.Queue()
    daemon = started(nas, names.nas_queue(nas), asked.put)
    for number in range(5):
        host.publish(Message(names.nas_queue(sleeper), b"before %d" % number))

    request = RequestMessage(names.nas_queue(nas), b"map")
    answers: list[bytes] = []

    def ask() -> None:
        with Asker(real_broker.settings("head")) as asker:
            answers.append(answer_of(asker, request, 600).body)  # a broker may need a minute to start

    command = threading.Thread(target=ask)
    command.start()
    assert asked.get(timeout=120).body == b"map"

    broker.kill(real_broker.place)
    for bus in (host, daemon):
        wait_until(lambda: not bus.wait_until_connected(0), "a connection has not ended")  # noqa: B023
    outbox.post(names.nas_queue(sleeper), *(b"meanwhile %d" % number for number in range(3)))
    outbox.post(names.nas_queue("nas-9-9"), b"to nobody")
    with pytest.raises(BrokerAwayError):
        outbox.sender.send_waiting()
    assert len(outbox.bodies) == 4
    outbox.sender.start()
    broker.start(real_broker.place, patience(90), ends_with_starter=True)
    again = asked.get(timeout=120)
    assert again.message_id == request.message_id, "asked again, as the same request"
    reply = answer_to(again, b"mapped")

    def is_published() -> bool:
        """The last one to ask is the one that waits; an older queue for replies is gone."""
        nonlocal reply
        try:
            daemon.publish(reply)
            return True
        except BrokerAwayError:
            return False
        except RocksError:
            reply = answer_to(asked.get(timeout=120), b"mapped")
            return False

    wait_until(is_published, "the broker does not take the reply")
    command.join(120)
    assert answers == [b"mapped"]

    started(sleeper, names.nas_queue(sleeper), come.put)
    bodies = [come.get(timeout=120).body for _ in range(8)]
    assert bodies == [b"before %d" % n for n in range(5)] + [b"meanwhile %d" % n for n in range(3)]
    wait_until(lambda: not outbox.bodies, "messages wait in the outbox")
    outbox.sender.close()
    assert "Message could not be delivered" in outbox.why["to nobody"]


def test_a_stopped_broker_is_detected(real_broker: RealBroker, started: Started) -> None:
    """Its kernel still accepts connections, and the broker sends nothing."""
    nas = real_broker.fresh_nas()
    quick = {"heartbeat_seconds": 2, "connect_deadline_seconds": 1.0}
    daemon = started(nas, names.nas_queue(nas), lambda _: None, **quick)
    process_id = broker.running_process(real_broker.place)
    assert process_id is not None
    os.kill(process_id, signal.SIGSTOP)
    try:
        wait_until(lambda: not daemon.wait_until_connected(0), "heartbeats that do not come were not noticed")
        with pytest.raises(BusyError):
            asker = Asker(real_broker.settings("head", connect_deadline_seconds=1.0))
            answer_of(asker, RequestMessage(names.nas_queue(nas), b"1"), 5)
    finally:
        os.kill(process_id, signal.SIGCONT)
    assert daemon.wait_until_connected(120)


def test_a_full_queue_is_an_error_and_accepts_messages_later(
    real_broker: RealBroker, started: Started
) -> None:
    """With a limit of three for this queue, above the general policy."""
    nas = real_broker.fresh_nas()
    name = names.nas_queue(nas)
    bound = json.dumps({"max-length": 3, "overflow": "reject-publish"})
    options = ("-p", names.VIRTUAL_HOST, "--priority", "9", "--apply-to", "queues")
    broker.control(real_broker.place, "set_policy", *options, "small", f"^{name}$", bound)
    come: queue.Queue[bytes] = queue.Queue()
    started(nas, name, lambda _: None).close()
    head = started("head")
    taken = 0
    with pytest.raises(QueueFullError, match=f"{name} is full"):
        for number in range(20):
            head.publish(Message(name, b"%d" % number))
            taken += 1
    assert 3 <= taken < 20
    started(nas, name, lambda delivery: come.put(delivery.body))
    assert [come.get(timeout=120) for _ in range(taken)] == [b"%d" % number for number in range(taken)]
    head.publish(Message(name, b"again"))
    assert come.get(timeout=120) == b"again"
