"""One connection to the message broker: settings of the node, messages as sent and received, TLS, the link."""

from __future__ import annotations

import contextlib
import enum
import random
import socket
import ssl
import uuid
from dataclasses import field
from typing import Any, Callable, Iterator, Optional

import amqp
from amqp.transport import SSLTransport

from rocks.core import clock
from rocks.core.dataclasses import dataclass
from rocks.core.errors import BusyError, HostError, ToolError
from rocks.storage.wire import names


@dataclass(frozen=True)
class BusSettings:
    """How a node reaches the broker.

    `node` is the name in this node's certificate, by which the broker identifies it. `address` is the broker's
    address, `server_name` the name in the broker's certificate (the address when None). `pair_file` has this node's
    certificate and key, `authority_file` the authority's certificate; both PEM. `connect_deadline_seconds` bounds
    each step of connecting, `confirm_deadline_seconds` the wait for the confirmation of a message.
    """

    node: str
    address: str
    port: int = names.PORT
    server_name: Optional[str] = None
    pair_file: str = "/etc/rocks/pki/node.pem"
    authority_file: str = "/etc/rocks/pki/ca.crt"
    virtual_host: str = names.VIRTUAL_HOST
    heartbeat_seconds: int = 30
    connect_deadline_seconds: float = 10.0
    confirm_deadline_seconds: float = 13.0


# --- messages as sent and as received, and the check of a received one before any handler reads it -----------------


LARGEST_BODY_BYTES = 1024 * 1024
CONTENT_TYPE = "application/json"


class Kind(enum.Enum):
    """The kind of a message, seen from the requester; on the wire the property `type`."""

    REQUEST = "request"
    REPLY = "reply"


def new_message_id() -> str:
    """A unique id for a message."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Message:
    """A message to a queue (`rocks.storage.wire.names` has the names).

    `correlation_id` is the `message_id` of the request that is answered; `reply_to` the queue for answers, one of
    the sender's own.
    """

    to: str
    body: bytes
    kind: Kind = Kind.REQUEST
    message_id: str = field(default_factory=new_message_id)
    correlation_id: Optional[str] = None
    reply_to: Optional[str] = None


@dataclass(frozen=True)
class Delivery:
    """A received message. `sender` is the node that the broker authenticated; `reply_to` is one of its own queues."""

    sender: str
    body: bytes
    message_id: str
    correlation_id: Optional[str]
    reply_to: Optional[str]
    kind: Kind


class InvalidMessageError(Exception):
    """A message that no handler may read; the text is the reason."""


def read_delivery(message: Any) -> Delivery:
    """The received message, from that of the library. InvalidMessageError when a property is missing or wrong.

    The broker checks a `user_id` against the certificate, but accepts messages without one.
    """
    properties = message.properties
    sender = properties.get("user_id")
    if not sender:
        raise InvalidMessageError("it has no user_id")
    message_id = properties.get("message_id")
    if not message_id:
        raise InvalidMessageError(f"{sender} sent it without a message_id")
    reply_to = properties.get("reply_to") or None
    if reply_to is not None and not names.is_own_queue(reply_to, sender):
        raise InvalidMessageError(f"{sender} requests an answer to {reply_to}, which is not its queue")
    try:
        kind = Kind(properties.get("type"))
    except ValueError:
        raise InvalidMessageError(f"{sender} sent the unknown type {properties.get('type')!r}") from None
    body = message.body.encode("utf-8") if isinstance(message.body, str) else bytes(message.body)
    if len(body) > LARGEST_BODY_BYTES:
        raise InvalidMessageError(
            f"{sender} sent {len(body)} bytes; at most {LARGEST_BODY_BYTES} are allowed"
        )
    correlation_id = properties.get("correlation_id") or None
    return Delivery(sender, body, message_id, correlation_id, reply_to, kind)


# --- how long to wait before the next attempt: longer each time, different for each client -------------------------


class Backoff:
    """Seconds to wait: `first`, doubled each time up to `longest`, each shortened at random.

    So a hundred hosts do not reconnect at the same moment.
    """

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first = self._next = first
        self._longest = longest

    def reset(self) -> None:
        """The attempt succeeded: the next wait is `first`."""
        self._next = self._first

    def next_seconds(self) -> float:
        """Seconds to wait before the next attempt."""
        seconds = self._next
        self._next = min(self._longest, seconds * 2)
        return seconds * random.uniform(0.7, 1.0)


# --- TLS connections of py-amqp to RabbitMQ: the site's authority only, the node's certificate, always a deadline ---
# py-amqp is used directly. kombu was refused: a command must know whether a request was confirmed, returned or
# lost before it connects again, so reconnection is our own work, and kombu would pass all else through. Its
# transport in memory has neither the quorum queues nor the rights that tests must prove.


def connect(settings: BusSettings) -> Any:
    """An open connection of py-amqp. Raises the errors of the library, `ssl` and `socket`."""
    connection = _SecureConnection(
        host=f"{settings.address}:{settings.port}",
        virtual_host=settings.virtual_host,
        login_method="EXTERNAL",
        ssl={"settings": settings},
        connect_timeout=settings.connect_deadline_seconds,
        heartbeat=settings.heartbeat_seconds,
        confirm_publish=True,
        client_properties={"connection_name": f"rocks img-storage on {settings.node}"},
        # py-amqp aborts a broken link after 1 s without an acknowledgement from the far kernel
        socket_settings={socket.TCP_USER_TIMEOUT: settings.heartbeat_seconds * 1000},
    )
    connection.connect()
    return connection


def tls_context(settings: BusSettings) -> ssl.SSLContext:
    """TLS 1.2 or later; the broker needs a certificate of the site's authority for its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(settings.authority_file)
    context.load_cert_chain(settings.pair_file)
    return context


class _SecureSocket(SSLTransport):  # type: ignore[misc]  # py-amqp has no types
    def _setup_transport(self) -> None:
        # py-amqp 5.1 waits for ever for the handshake of a broker that is stopped
        self.sock.settimeout(self.connect_timeout)
        super()._setup_transport()
        self.sock.settimeout(None)
        # without it the library spins, possibly for ever, where a read of a TLS connection would block
        self.raise_on_initial_eintr = True

    def _wrap_socket(self, sock: socket.socket, settings: BusSettings) -> ssl.SSLSocket:
        return tls_context(settings).wrap_socket(
            sock,
            do_handshake_on_connect=False,
            server_hostname=settings.server_name or settings.address,
        )

    def _shutdown_transport(self) -> None:
        """End without TLS's closing message, for which the library would wait for ever; AMQP has its own."""


class _SecureConnection(amqp.Connection):  # type: ignore[misc]  # py-amqp has no types
    # positional, as py-amqp 5.1 and 5.4 both call it
    def Transport(  # noqa: N802 - the library's name
        self,
        host: str,
        connect_timeout: Any,
        ssl: Any = False,
        read_timeout: Any = None,
        write_timeout: Any = None,
        socket_settings: Any = None,
        **more: Any,
    ) -> _SecureSocket:
        return _SecureSocket(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            socket_settings=socket_settings,
            **more,
        )


# --- one connection, for one thread: connect, make a queue, read, send with confirmation ---------------------------
# Every fault of the connection becomes BrokerAwayError, and closes the link; make another one.


_PERSISTENT = 2
_NEW_QUEUE_SECONDS = 1.5
"""RabbitMQ 3.10 (Ra 2.2) writes the name of a new quorum queue to disk half a second or more late. Killed before, it
restarts with the queue and without its log: confirmed messages are lost, and the queue never answers again. So nothing
may be sent to a new queue before that time has passed."""

_HEARTBEATS_PER_INTERVAL = 4
_READ_AT_ONCE_SECONDS = 0.001

_CHANNEL_FAULTS = (amqp.exceptions.ChannelError,)
_FAULTS = (
    amqp.exceptions.AMQPError,
    amqp.exceptions.IrrecoverableConnectionError,
    ssl.SSLError,
    OSError,
    ValueError,  # a TLS socket that was closed under the library
    AttributeError,  # raised by py-amqp for the same reason
)


class BrokerAwayError(BusyError):
    """The broker cannot be reached; nothing was lost, and a retry can succeed."""


class _SilentBrokerError(BrokerAwayError):
    """The broker did not answer in time."""


class QueueFullError(BusyError):
    """The queue has as many messages as it may have; its reader is slow or down."""


class NotYetThereError(BusyError):
    """The queue does not exist, but the broker has just restarted: its daemon may make the queue soon.

    Seen with RabbitMQ 3.10.8: killed within a second of a queue's binding, it restarts with the queue and without the
    binding, until the daemon binds it again.
    """


class UndeliveredError(HostError):
    """The queue does not exist: its daemon has never run."""


class RefusedError(ToolError):
    """The broker rejected the request; the text contains the broker's message."""


class Link:
    """See the module."""

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._connection: Any = None
        self._sending: Any = None
        self._reading: Any = None
        self._returned: list[str] = []

    def open(self) -> None:
        """Connect. BrokerAwayError when nothing answers, RefusedError when the broker rejects this node."""
        settings = self._settings
        place = f"the message broker at {settings.address} port {settings.port}"
        try:
            self._connection = connect(settings)
            self._open_sending()
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise RefusedError(f"{place} has an invalid certificate: {error}") from None
        except FileNotFoundError:
            self.close()
            raise RefusedError(
                f"{settings.pair_file} or {settings.authority_file}, this node's certificates, is missing: run "
                f"`rocks sync host certificate {settings.node}` on the frontend"
            ) from None
        except (amqp.exceptions.AccessRefused, amqp.exceptions.NotAllowed) as error:
            self.close()
            raise RefusedError(
                f"{place} rejects {settings.node}: {_reason(error)}; `rocks sync broker` on the frontend makes its user"
            ) from None
        except _FAULTS as error:
            self.close()
            if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):  # OpenSSL's mnemonic
                raise RefusedError(
                    f"{place} rejects the certificate of {settings.node}: {_reason(error)}"
                ) from None
            if isinstance(error, (ssl.SSLError, ConnectionResetError, BrokenPipeError)):
                # a reset may overtake the alert; Python 3.13 raises BrokenPipeError for what could not be sent any more
                raise BrokerAwayError(
                    f"{place} closed the connection at once: it is starting or stopping, or rejects the certificate "
                    f"of {settings.node} ({_reason(error)})"
                ) from None
            raise BrokerAwayError(f"cannot reach {place}: {_reason(error)}") from None

    def close(self) -> None:
        """End the connection; unacknowledged messages return to their queue."""
        connection, self._connection = self._connection, None
        self._sending = self._reading = None
        if connection is None or not connection.connected:  # py-amqp would open it anew, to close it
            return
        with contextlib.suppress(*_FAULTS):
            connection.transport.sock.settimeout(1)
            connection.close()
        with contextlib.suppress(*_FAULTS):
            connection.collect()

    def fileno(self) -> int:
        """The socket, for `select`, which does not see data that the library has already read."""
        return int(self._connection.sock.fileno())

    def publish(self, message: Message) -> None:
        """Send, and wait until the broker has the message on disk in its queue.

        UndeliveredError when the queue does not exist, QueueFullError when it is full, RefusedError when this node may
        not write to it. BrokerAwayError when the connection breaks: the message may have been delivered or not.
        """
        self._returned.clear()
        try:
            self._sending.basic_publish(
                self._as_amqp(message),
                exchange=names.EXCHANGE,
                routing_key=message.to,
                mandatory=True,
                timeout=self._read_seconds(self._settings.confirm_deadline_seconds),
            )
        except amqp.exceptions.MessageNacked:
            raise QueueFullError(f"the queue {message.to} is full: is its daemon running?") from None
        except _CHANNEL_FAULTS as error:
            try:
                self._open_sending()
            except _FAULTS as fault:
                raise self._lost(fault) from None
            raise RefusedError(
                f"the broker rejects a message from this node to {message.to}: {_reason(error)}"
            ) from None
        except _FAULTS as error:
            raise self._lost(error) from None
        if self._returned:
            raise UndeliveredError(f"Message could not be delivered: there is no queue {message.to}")

    def ensure_daemon_queue(self, queue: str) -> None:
        """Make the durable queue unless it exists; the broker's policy bounds it. RefusedError for another node's."""
        if not self._has_queue(queue):
            with self._reading_channel() as channel:
                channel.queue_declare(
                    queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
                )
            clock.wait_seconds(_NEW_QUEUE_SECONDS)
        with self._reading_channel() as channel:
            channel.queue_bind(queue, names.EXCHANGE, routing_key=queue)

    def create_reply_queue(self, queue: str) -> None:
        """Make a queue that ends with this connection."""
        with self._reading_channel() as channel:
            channel.queue_declare(queue, exclusive=True, auto_delete=True)
            channel.queue_bind(queue, names.EXCHANGE, routing_key=queue)

    def consume(self, queue: str, prefetch: int, received: Callable[[Any], None]) -> None:
        """From now on `read` calls `received` with each message; at most `prefetch` are unacknowledged at a time."""
        try:
            with self._reading_channel() as channel:
                channel.basic_qos(0, prefetch, False)
                channel.basic_consume(queue, callback=received, on_cancel=self._cancelled)
        except _SilentBrokerError as error:
            remedy = f"rabbitmqctl delete_queue -p {self._settings.virtual_host} {queue}"
            raise BrokerAwayError(
                f"{error}; if this lasts, the broker has lost what is in {queue}: run `{remedy}` on the broker's host, "
                "and its daemon creates the queue again"
            ) from None

    def acknowledge(self, tag: int) -> None:
        """The message is handled: the broker removes it."""
        with self._reading_channel() as channel:
            channel.basic_ack(tag)

    def requeue(self, tag: int) -> None:
        """Return the message to its queue; after `MAX_DELIVERIES` times it becomes a dead letter."""
        with self._reading_channel() as channel:
            channel.basic_reject(tag, requeue=True)

    def reject(self, tag: int) -> None:
        """Make the message a dead letter."""
        with self._reading_channel() as channel:
            channel.basic_reject(tag, requeue=False)

    def read(self, longest_wait: float = _READ_AT_ONCE_SECONDS) -> bool:
        """Read all messages that have arrived, waiting so long for the first; whether there was any."""
        wait, has_read = longest_wait, False
        while True:
            try:
                self._connection.drain_events(timeout=max(_READ_AT_ONCE_SECONDS, wait))
            except socket.timeout:
                return has_read
            except _CHANNEL_FAULTS as error:
                self.close()
                raise RefusedError(f"the broker ended the consumer: {_reason(error)}") from None
            except _FAULTS as error:
                raise self._lost(error) from None
            wait, has_read = 0.0, True

    def send_heartbeat(self) -> None:
        """Send a heartbeat, and check the broker's; call it a few times in each heartbeat interval."""
        try:
            self._connection.heartbeat_tick(rate=_HEARTBEATS_PER_INTERVAL)
        except _FAULTS as error:
            raise self._lost(error) from None

    def _answered_in_time(self) -> Any:
        """A deadline for requests of py-amqp itself, such as to open a channel; it would wait for ever."""
        return self._connection.transport.having_timeout(
            self._read_seconds(self._settings.connect_deadline_seconds)
        )

    def _read_seconds(self, deadline_seconds: float) -> float:
        """How long a read may last. Heartbeats end a read, and the broker sends two in an interval."""
        return min(deadline_seconds, self._settings.heartbeat_seconds * 0.45)

    def _has_queue(self, queue: str) -> bool:
        try:
            with self._answered_in_time(), self._connection.channel() as channel:
                channel.queue_declare(queue, passive=True)
                return True
        except amqp.exceptions.NotFound:
            return False
        except _FAULTS as error:
            raise self._lost(error) from None

    def _open_sending(self) -> None:
        with self._answered_in_time():
            self._sending = self._connection.channel()
        self._sending.events["basic_return"].add(self._on_return)

    def _on_return(self, _error: Exception, _exchange: str, routing_key: str, _message: Any) -> None:
        self._returned.append(routing_key)

    def _cancelled(self, _consumer: str) -> None:
        raise OSError("the queue was removed under its reader")

    @contextlib.contextmanager
    def _reading_channel(self) -> Iterator[Any]:
        try:
            with self._answered_in_time():
                if self._reading is None:
                    self._reading = self._connection.channel()
                yield self._reading
        except _CHANNEL_FAULTS as error:
            self.close()
            raise RefusedError(f"the broker rejects the request: {_reason(error)}") from None
        except _FAULTS as error:
            raise self._lost(error) from None

    def _lost(self, error: BaseException) -> BrokerAwayError:
        self.close()
        place = f"{self._settings.address} port {self._settings.port}"
        kind = _SilentBrokerError if isinstance(error, socket.timeout) else BrokerAwayError
        return kind(f"the connection to the message broker at {place} broke: {_reason(error)}")

    def _as_amqp(self, message: Message) -> amqp.Message:
        given: dict[str, Optional[str]] = {
            "correlation_id": message.correlation_id,
            "reply_to": message.reply_to,
        }
        return amqp.Message(
            message.body,
            content_type=CONTENT_TYPE,
            delivery_mode=_PERSISTENT,
            message_id=message.message_id,
            type=message.kind.value,
            user_id=self._settings.node,
            **{name: value for name, value in given.items() if value is not None},
        )


def _reason(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
