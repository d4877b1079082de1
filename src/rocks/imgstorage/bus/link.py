"""One connection to the broker, for one thread: come in, make a queue, read, send with the broker's word for it.

Every fault of the connection becomes BrokerAwayError, and the link is closed then; make another one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any, Callable, Iterator, Optional

import amqp

from rocks import clock
from rocks.errors import BusyError, HostError, ToolError
from rocks.imgstorage.bus import secure
from rocks.imgstorage.bus.messages import CONTENT_TYPE, Message
from rocks.imgstorage.bus.settings import BusSettings
from rocks.wire import queues

_PERSISTENT = 2
_NEW_QUEUE_SECONDS = 1.5
"""RabbitMQ 3.10 (Ra 2.2) writes the name of a new quorum queue to disk half a second or more late. Killed before, it
comes back with the queue and without its log: whatever was confirmed is lost, and the queue never answers again. So
nothing may be sent to a queue before that time has passed."""

_HEARTBEATS_PER_INTERVAL = 4
_READ_AT_ONCE_SECONDS = 0.001

_CHANNEL_FAULTS = (amqp.exceptions.ChannelError,)
_FAULTS = (
    amqp.exceptions.AMQPError,
    amqp.exceptions.IrrecoverableConnectionError,
    ssl.SSLError,
    OSError,
    ValueError,  # a TLS socket that was closed under the library
    AttributeError,  # the same, in py-amqp: "it's very annoying", kombu says
)


class BrokerAwayError(BusyError):
    """The broker cannot be reached now; nothing was lost, try again."""


class QueueFullError(BusyError):
    """The queue has as many messages as it may have; its reader is slow or away."""


class NotYetThereError(BusyError):
    """There is no such queue, but the broker has just come: the daemon it belongs to may be about to.

    Seen with RabbitMQ 3.10.8: killed within a second of a queue's binding, it comes back with the queue and without the
    binding, until the daemon binds it again.
    """


class UndeliveredError(HostError):
    """There is no such queue: the daemon it belongs to has never been there."""


class RefusedError(ToolError):
    """The broker does not allow what was asked, in its own words."""


class Link:
    """See the module."""

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._connection: Any = None
        self._sending: Any = None
        self._reading: Any = None
        self._returned: list[str] = []

    def open(self) -> None:
        """Come in. BrokerAwayError when nothing answers, RefusedError when the broker does not take this node."""
        settings = self._settings
        place = f"the message broker at {settings.address} port {settings.port}"
        try:
            self._connection = secure.connect(settings)
            self._open_sending()
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise RefusedError(f"{place} shows a certificate that is not as it must be: {error}") from None
        except FileNotFoundError as error:
            self.close()
            raise RefusedError(
                f"this node has no certificate in {settings.pair_file}, or the authority's is not in "
                f"{settings.authority_file} ({error.strerror}): run `rocks sync host certificate {settings.node}`"
            ) from None
        except (amqp.exceptions.AccessRefused, amqp.exceptions.NotAllowed) as error:
            self.close()
            raise RefusedError(f"{place} does not let {settings.node} in: {_words(error)}") from None
        except _FAULTS as error:
            self.close()
            if isinstance(error, ssl.SSLError) and "alert" in str(error).lower():
                raise RefusedError(
                    f"{place} refuses the certificate of {settings.node}: {_words(error)}"
                ) from None
            if isinstance(
                error, (ssl.SSLError, ConnectionResetError)
            ):  # the alert may be lost behind the reset
                raise BrokerAwayError(
                    f"{place} broke off at once: it is starting or stopping, or refuses the certificate of "
                    f"{settings.node} ({_words(error)})"
                ) from None
            raise BrokerAwayError(f"cannot reach {place}: {_words(error)}") from None

    def close(self) -> None:
        """End the connection; what was not acknowledged goes back to its queue."""
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
        """The socket, for `select`; what the library has read already does not show there."""
        return int(self._connection.sock.fileno())

    def publish(self, message: Message) -> None:
        """Send, and wait until the broker has it on disk in the queue that it is meant for.

        UndeliveredError when there is no such queue, QueueFullError when it takes no more, RefusedError when this
        node may not write there. BrokerAwayError when the connection breaks: it may be there or not.
        """
        self._returned.clear()
        try:
            self._sending.basic_publish(
                self._as_amqp(message),
                exchange=queues.EXCHANGE,
                routing_key=message.to,
                mandatory=True,
                timeout=self._patience(self._settings.confirm_deadline_seconds),
            )
        except amqp.exceptions.MessageNacked:
            raise QueueFullError(f"the queue {message.to} is full: is its daemon running?") from None
        except _CHANNEL_FAULTS as error:
            self._again(self._open_sending)
            raise RefusedError(
                f"the broker takes no message to {message.to} from here: {_words(error)}"
            ) from None
        except _FAULTS as error:
            raise self._lost(error) from None
        if self._returned:
            raise UndeliveredError(f"Message could not be delivered: there is no queue {message.to}")

    def ensure_daemon_queue(self, queue: str) -> None:
        """Have the durable queue; its bounds are the broker's policy. RefusedError when it is another node's."""
        if not self._has_queue(queue):
            with self._reading_channel() as channel:
                channel.queue_declare(
                    queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
                )
            clock.wait_seconds(_NEW_QUEUE_SECONDS)
        with self._reading_channel() as channel:
            channel.queue_bind(queue, queues.EXCHANGE, routing_key=queue)

    def make_reply_queue(self, queue: str) -> None:
        """Have a queue that ends with this connection."""
        with self._reading_channel() as channel:
            channel.queue_declare(queue, exclusive=True, auto_delete=True)
            channel.queue_bind(queue, queues.EXCHANGE, routing_key=queue)

    def consume(self, queue: str, prefetch: int, arrived: Callable[[Any], None]) -> None:
        """From now on `read` calls `arrived` with each message; at most `prefetch` are out at a time."""
        try:
            with self._reading_channel() as channel:
                channel.basic_qos(0, prefetch, False)
                channel.basic_consume(queue, callback=arrived, on_cancel=self._cancelled)
        except BrokerAwayError as error:
            if "timed out" not in str(error):
                raise
            remedy = f"rabbitmqctl delete_queue -p {self._settings.virtual_host} {queue}"
            raise BrokerAwayError(
                f"{error}; if this lasts, the broker has lost what is in {queue}: run `{remedy}` where the broker is, "
                "and the daemon makes its queue anew"
            ) from None

    def acknowledge(self, tag: int) -> None:
        """The message is done with: the broker forgets it."""
        with self._reading_channel() as channel:
            channel.basic_ack(tag)

    def give_back(self, tag: int) -> None:
        """The message goes back to its queue; after `MOST_DELIVERIES` times to the dead letters."""
        with self._reading_channel() as channel:
            channel.basic_reject(tag, requeue=True)

    def bury(self, tag: int) -> None:
        """The message goes to the dead letters."""
        with self._reading_channel() as channel:
            channel.basic_reject(tag, requeue=False)

    def read(self, longest_wait: float = _READ_AT_ONCE_SECONDS) -> bool:
        """Take in what has come, waiting at most so long for the first; whether anything had."""
        patience, came = longest_wait, False
        while True:
            try:
                self._connection.drain_events(timeout=max(_READ_AT_ONCE_SECONDS, patience))
            except socket.timeout:
                return came
            except _CHANNEL_FAULTS as error:
                self.close()
                raise RefusedError(f"the broker ended the reading: {_words(error)}") from None
            except _FAULTS as error:
                raise self._lost(error) from None
            patience, came = 0.0, True

    def beat(self) -> None:
        """Show that we live, and see whether the broker does; to be called a few times in each heartbeat interval."""
        try:
            self._connection.heartbeat_tick(rate=_HEARTBEATS_PER_INTERVAL)
        except _FAULTS as error:
            raise self._lost(error) from None

    def _answered_in_time(self) -> Any:
        """py-amqp waits for ever for the answer to a question of its own, such as the opening of a channel."""
        return self._connection.transport.having_timeout(
            self._patience(self._settings.connect_deadline_seconds)
        )

    def _patience(self, deadline_seconds: float) -> float:
        """For each read. The broker's heartbeats come twice in an interval and count as something to read."""
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
            raise RefusedError(f"the broker refuses: {_words(error)}") from None
        except _FAULTS as error:
            raise self._lost(error) from None

    def _again(self, step: Callable[[], None]) -> None:
        try:
            step()
        except _FAULTS as error:
            raise self._lost(error) from None

    def _lost(self, error: BaseException) -> BrokerAwayError:
        self.close()
        place = f"{self._settings.address} port {self._settings.port}"
        return BrokerAwayError(f"the connection to the message broker at {place} broke: {_words(error)}")

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


def _words(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
