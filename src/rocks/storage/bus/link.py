"""One connection to the broker, for one thread: connect, make a queue, read, send with confirmation.

Every fault of the connection becomes BrokerAwayError, and closes the link; make another one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any, Callable, Iterator, Optional

import amqp

from rocks.core import clock
from rocks.core.errors import BusyError, HostError, ToolError
from rocks.storage.bus import secure
from rocks.storage.bus.messages import CONTENT_TYPE, Message
from rocks.storage.bus.settings import BusSettings
from rocks.storage.wire import names

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
            self._connection = secure.connect(settings)
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
