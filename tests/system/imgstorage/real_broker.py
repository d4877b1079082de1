"""A real broker for the whole run, with the rights of a small site: head (frontend), nas-0-0, vmc-0-0 and vmc-0-1.

Each test has a node of its own, made for it, so that no test finds what another has left in a queue.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab import broker
from lab.broker import BrokerPlace
from rocks.core.errors import RocksError
from rocks.storage.bus import Asker, Bus, BusSettings, Delivery, Kind, Message, RequestMessage
from rocks.storage.bus.link import connect
from rocks.storage.wire import names
from rocks.trust.authority import Authority
from tests.servers import free_port
from tests.waiting import wait_until

Started = Callable[..., Bus]
"""Of the fixture `started`."""

NODES = {
    "head": names.FRONTEND,
    "nas-0-0": names.NAS,
    "vmc-0-0": names.HOST,
    "vmc-0-1": names.HOST,
    # one NAS for each test that needs a queue of its own
    **{f"nas-1-{number}": names.NAS for number in range(40)},
}


def place_of_broker(folder: Path) -> BrokerPlace:
    """The place of a broker of this worker.

    A broker is not at its ports for seconds, while it starts; the kernel gives these to nobody meanwhile.
    """
    return BrokerPlace(folder, fixed_ports=(free_port(), free_port(), free_port()))


def answer_to(delivery: Delivery, body: bytes) -> Message:
    """A daemon's answer to a request."""
    assert delivery.reply_to is not None
    return Message(delivery.reply_to, body, Kind.REPLY, correlation_id=delivery.message_id)


def answer_of(asker: Asker, request: RequestMessage, deadline_seconds: float) -> Delivery:
    """The answer to one request; the error in its place is raised."""
    ((_, answer),) = asker.ask_all({"": request}, deadline_seconds)
    if isinstance(answer, RocksError):
        raise answer
    return answer


@dataclass(frozen=True)
class RealBroker:
    """The broker of the run and the certificates of its site."""

    place: BrokerPlace
    authority: Authority
    folder: Path
    fresh: Iterator[int] = field(default_factory=itertools.count)

    def settings(self, node: str, **more: object) -> BusSettings:
        """How that node comes in."""
        pair = self.folder / f"{node}.pem"
        if not pair.exists():
            pair.touch(mode=0o600)
            pair.write_bytes(self.authority.bundle(node).pair)
        return BusSettings(
            node,
            self.place.address,
            self.place.port,
            "localhost",
            str(pair),
            str(self.folder / "pki" / "ca.crt"),
            **more,  # type: ignore[arg-type]
        )

    def fresh_nas(self) -> str:
        """A NAS whose queue no other test has used."""
        return f"nas-1-{next(self.fresh)}"

    def throw_out(self, *nodes: str) -> None:
        """End the connections of the nodes, which may come again."""
        for node in nodes:
            broker.control(self.place, "close_all_user_connections", node, "a test")

    def give_certificates(self) -> None:
        """Have the broker use the newest list of revoked certificates."""
        certificates = self.authority.bundle("broker")
        revoked = (self.authority.list_file_name(), certificates.revoked)
        broker.give_certificates(self.place, certificates.authority, certificates.pair, revoked)

    def ready(self, queue: str) -> int:
        """How many messages lie in a queue and are delivered to no consumer.

        By AMQP: what `rabbitmqctl list_queues` says of quorum queues is 5 s old (RabbitMQ 3.10).
        """
        connection = connect(self.settings("head"))
        try:
            return int(connection.channel().queue_declare(queue, passive=True).message_count)
        finally:
            connection.close()

    def wait_for(self, queue: str, ready: int) -> None:
        """Until so many messages lie in the queue."""
        wait_until(
            lambda: self.ready(queue) == ready,
            problem=lambda: f"{self.ready(queue)} messages in {queue}, not {ready}",
        )
