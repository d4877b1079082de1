"""Authentication and rights of nodes at a real RabbitMQ with the generated definitions."""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import amqp
import pytest

from lab import broker
from rocks.core.clock import utc_now
from rocks.storage.bus import BrokerAwayError, BusSettings, Message, RefusedError
from rocks.storage.bus.link import Link, connect
from rocks.storage.wire import names
from rocks.trust import x509
from rocks.trust.x509 import CertificateSpec
from tests.patience import patience
from tests.system.imgstorage.real_broker import RealBroker, Started
from tests.waiting import wait_until

VMC = names.host_queue("vmc-0-0")
OTHER = names.host_queue("vmc-0-1")
NAS = names.nas_queue("nas-0-0")
TOKEN = "0" * 32


@pytest.fixture(scope="module", autouse=True)
def daemons_queues(real_broker: RealBroker) -> None:
    for node, name in (("vmc-0-0", VMC), ("vmc-0-1", OTHER), ("nas-0-0", NAS)):
        link = Link(real_broker.settings(node))
        link.open()
        link.ensure_daemon_queue(name)
        link.close()


def refused(settings: BusSettings, act: Callable[[Any], object]) -> None:
    """The broker rejects the operation `act` on a channel."""
    connection = connect(settings)
    try:
        with pytest.raises((amqp.exceptions.AccessRefused, amqp.exceptions.PreconditionFailed)):
            act(connection.channel())
            connection.drain_events(timeout=patience(30))
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("node", "to", "allowed"),
    [
        ("head", NAS, True),
        ("head", VMC, True),
        ("nas-0-0", VMC, True),
        ("nas-0-0", NAS, False),
        ("vmc-0-0", NAS, True),
        ("vmc-0-0", OTHER, False),
        ("head", names.DEAD_QUEUE, False),
    ],
)
def test_a_node_writes_only_to_the_queues_of_its_roles(
    real_broker: RealBroker, node: str, to: str, allowed: bool
) -> None:
    link = Link(real_broker.settings(node))
    link.open()
    try:
        if allowed:
            link.publish(Message(to, b"1"))
        else:
            with pytest.raises(RefusedError, match="access to topic"):
                link.publish(Message(to, b"1"))
            if node != "head":
                return
            link.publish(Message(NAS, b"after a refusal the link still sends"))
    finally:
        link.close()


def test_a_node_reads_only_its_own_queues(real_broker: RealBroker) -> None:
    settings = real_broker.settings("vmc-0-0")
    for name in (OTHER, NAS, names.DEAD_QUEUE):
        refused(settings, lambda channel, name=name: channel.basic_consume(name))
        refused(settings, lambda channel, name=name: channel.basic_get(name))
        refused(settings, lambda channel, name=name: channel.queue_purge(name))
        refused(settings, lambda channel, name=name: channel.queue_delete(name))
    refused(settings, lambda channel: channel.queue_declare(names.host_queue("vmc-9-9"), durable=True))
    refused(settings, lambda channel: channel.queue_declare(names.reply_queue("head", TOKEN)))
    # binding its own queue for another's messages would be reading them too
    refused(settings, lambda channel: channel.queue_bind(VMC, names.EXCHANGE, routing_key=OTHER))
    refused(settings, lambda channel: channel.queue_bind(VMC, names.EXCHANGE, routing_key="#"))
    refused(settings, lambda channel: channel.exchange_declare("mine", "topic"))
    refused(settings, lambda channel: channel.exchange_delete(names.EXCHANGE))


def test_the_default_exchange_is_not_usable(real_broker: RealBroker) -> None:
    message = amqp.Message(b"1", user_id="vmc-0-0")
    refused(
        real_broker.settings("vmc-0-0"),
        lambda channel: channel.basic_publish_confirm(
            message, exchange="", routing_key=OTHER, timeout=patience(30)
        ),
    )


def test_a_node_cannot_send_as_another(real_broker: RealBroker) -> None:
    """The broker itself compares `user_id` with the certificate."""
    message = amqp.Message(b"1", user_id="nas-0-0", message_id="1", type="request")
    refused(
        real_broker.settings("vmc-0-0"),
        lambda channel: channel.basic_publish_confirm(
            message, exchange=names.EXCHANGE, routing_key=NAS, timeout=patience(30)
        ),
    )


def test_a_message_without_a_sender_is_never_read(real_broker: RealBroker, started: Started) -> None:
    """The broker accepts messages without `user_id`, and those with a `reply_to` of another node."""
    nas = real_broker.fresh_nas()
    read: list[object] = []
    started(nas, names.nas_queue(nas), read.append)
    before = real_broker.ready(names.DEAD_QUEUE)
    connection = connect(real_broker.settings("vmc-0-0"))
    unfit = (
        {"message_id": "1", "type": "request"},
        {"message_id": "2", "type": "request", "user_id": "vmc-0-0", "reply_to": OTHER},
        {"message_id": "3", "type": "gossip", "user_id": "vmc-0-0"},
        {"type": "request", "user_id": "vmc-0-0"},
    )
    for properties in unfit:
        connection.channel().basic_publish_confirm(
            amqp.Message(b"1", **properties), names.EXCHANGE, names.nas_queue(nas), timeout=patience(30)
        )
    connection.close()
    real_broker.wait_for(names.DEAD_QUEUE, before + len(unfit))
    assert read == []


def test_a_certificate_of_another_authority_is_rejected(
    real_broker: RealBroker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also with the same name; and a node does not connect to a broker of another authority."""
    folder = tmp_path_factory.mktemp("pki")
    theirs = x509.create_authority("the tests' authority", utc_now(), 3650)
    pair = x509.sign(theirs, CertificateSpec("vmc-0-0", ["vmc-0-0"], [], 1), utc_now())
    (folder / "pair.pem").write_bytes(pair.certificate + pair.key)
    (folder / "ca.crt").write_bytes(theirs.certificate)
    ours = real_broker.settings("vmc-0-0")
    refused_to_open(_with(ours, pair_file=str(folder / "pair.pem")), "rejects the certificate of")
    refused_to_open(_with(ours, authority_file=str(folder / "ca.crt")), "has an invalid certificate")
    refused_to_open(_with(ours, server_name="elsewhere"), "has an invalid certificate")


def test_no_client_connects_without_a_certificate(real_broker: RealBroker) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(real_broker.settings("head").authority_file)
    place = (real_broker.place.address, real_broker.place.port)
    with (
        pytest.raises((ssl.SSLError, ConnectionResetError)),
        socket.create_connection(place, patience(30)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"AMQP\0\0\x09\x01")
        secure.recv(1)


def test_the_brokers_own_certificate_is_not_valid_for_clients(real_broker: RealBroker) -> None:
    refused_to_open(real_broker.settings("broker"), "rejects the certificate of")


def test_a_revoked_certificate_is_rejected_at_once_and_a_deleted_user_is_disconnected(
    real_broker: RealBroker, started: Started
) -> None:
    """Both are needed: the list rejects the certificate, also for a new user; the deletion ends open connections."""
    nas = real_broker.fresh_nas()
    old = real_broker.settings(nas)
    daemon = started(nas, names.nas_queue(nas), lambda _: None)

    issued = real_broker.authority.issue(CertificateSpec(nas, [nas], [], 30))
    assert [one.node for one in real_broker.authority.settle(nas, issued.serial)] == [nas]
    real_broker.give_certificates()
    refused_to_open(old, "rejects the certificate of")
    assert daemon.wait_until_connected(0), "a list of revoked certificates ends no open connection"

    new = real_broker.folder / f"{nas}.new.pem"
    new.write_bytes(real_broker.authority.bundle(nas).pair)
    link = Link(_with(old, pair_file=str(new)))
    link.open()

    broker.control(real_broker.place, "delete_user", nas)
    wait_until(lambda: not daemon.wait_until_connected(0))
    with pytest.raises((BrokerAwayError, RefusedError)):
        link.publish(Message(VMC, b"1"))
    refused_to_open(_with(old, pair_file=str(new)), f"rejects {nas}")


def refused_to_open(settings: BusSettings, message: str) -> None:
    link = Link(settings)
    try:
        with pytest.raises((RefusedError, BrokerAwayError), match=message):
            link.open()
    finally:
        link.close()


def _with(settings: BusSettings, **more: str) -> BusSettings:
    return BusSettings(**{**settings.__dict__, **more})
