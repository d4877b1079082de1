"""A command's end of the bus: requests and their answers, all with one deadline, in the caller's own thread."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from dataclasses import field
from typing import Any, Deque, Dict, Iterable, Iterator, Mapping, Optional, Tuple, Union

from rocks.core import clock
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.dataclasses import dataclass
from rocks.core.errors import BusyError, RocksError
from rocks.storage.bus.link import (
    Backoff,
    BrokerAwayError,
    BusSettings,
    Delivery,
    InvalidMessageError,
    Kind,
    Link,
    Message,
    UndeliveredError,
    new_message_id,
    read_delivery,
)
from rocks.storage.wire import names

SILENT_SECONDS = 10.0
"""After which a command that waits for such an answer says so."""

_log = logging.getLogger(__name__)

_PREFETCH = 64
_LONGEST_READ_SECONDS = 1.0

Answer = Union[Delivery, RocksError]


class NoAnswerError(BusyError):
    """The deadline has passed. The operation may be in progress; repeat the request with the same `message_id`."""


@dataclass(frozen=True)
class RequestMessage:
    """A request to a daemon's queue. Repeated with the same `message_id`, it is the same request."""

    to: str
    body: bytes
    at_once: bool = False
    """The daemon answers it at once: a person reads it when it does not."""
    message_id: str = field(default_factory=new_message_id)


class Asker:
    """Sends requests to daemons and waits for the answers. For one thread at a time; use it in a `with`.

    When the connection breaks during the wait, a new one is made and the open requests are repeated: daemons recognize
    a request by its `message_id` and repeat their answer.
    """

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._link: Optional[Link] = None
        self._queue = ""
        self._received: Deque[Any] = deque()
        self._unrouted: Dict[str, RequestMessage] = {}
        self._tried_at = 0.0

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. Operations that are in progress on the nodes continue."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def ask_all(
        self, requests: Mapping[str, RequestMessage], deadline_seconds: float
    ) -> Iterator[Tuple[str, Answer]]:
        """(key, answer or error) for each request, in the order in which the answers arrive.

        BrokerAwayError and RefusedError when the broker cannot be reached, or rejects this node, at first.
        """
        if not requests:
            return
        deadline = Deadline(deadline_seconds)
        open_ones = dict(requests)
        is_reused = self._link is not None
        if not is_reused:
            self._connect()
        try:
            yield from self._send(open_ones, is_first=True)
        except BrokerAwayError:
            if not is_reused:
                raise
            self._connect()  # the broker ends a connection that was idle: nobody sent heartbeats
            yield from self._send(open_ones, is_first=True)
        backoff, silent = Backoff(), Deadline(SILENT_SECONDS)
        while open_ones and not deadline.passed():
            if silent.passed():
                silent = Deadline(None)
                _report_silent(open_ones.values(), deadline_seconds)
            try:
                yield from self._listen(open_ones, deadline)
            except BrokerAwayError as error:
                _log.warning("%s; the request is repeated when the broker is back", error)
                self.close()
                yield from self._send_again(open_ones, deadline, backoff)
        for key, request in open_ones.items():
            yield (
                key,
                NoAnswerError(
                    f"{names.queue_node(request.to)} has not answered within {deadline_seconds:g} s; "
                    f"operation {request.message_id} may still be in progress there"
                ),
            )

    def _connect(self) -> None:
        link = Link(self._settings)
        link.open()
        self._queue = names.reply_queue(self._settings.node, secrets.token_hex(16))
        self._received.clear()
        link.create_reply_queue(self._queue)
        link.consume(self._queue, _PREFETCH, self._received.append)
        self._link = link

    def _send(self, open_ones: Dict[str, RequestMessage], is_first: bool) -> Iterator[Tuple[str, Answer]]:
        """Send all requests; yields the error of each that cannot be delivered, and removes it. BrokerAwayError.

        After an outage the queue of a daemon may not exist yet; its requests are sent again later.
        """
        self._unrouted.clear()
        for key, request in list(open_ones.items()):
            assert self._link is not None
            try:
                message = Message(
                    request.to, request.body, Kind.REQUEST, request.message_id, None, self._queue
                )
                self._link.publish(message)
            except BrokerAwayError:
                self.close()
                raise
            except UndeliveredError as error:
                if not is_first:
                    self._unrouted[key] = request
                    continue
                del open_ones[key]
                yield key, error
            except RocksError as error:
                del open_ones[key]
                yield key, error

    def _send_again(
        self, open_ones: Dict[str, RequestMessage], deadline: Deadline, backoff: Backoff
    ) -> Iterator[Tuple[str, Answer]]:
        while open_ones and not deadline.passed():
            try:
                self._connect()
                yield from self._send(open_ones, is_first=False)
                backoff.reset()
                return
            except BrokerAwayError:
                wait_seconds(min(backoff.next_seconds(), deadline.remaining_seconds() or 0.0))

    def _listen(
        self, open_ones: Dict[str, RequestMessage], deadline: Deadline
    ) -> Iterator[Tuple[str, Answer]]:
        link = self._link
        if link is None:
            raise BrokerAwayError("the connection to the message broker is gone")
        seconds = min(_LONGEST_READ_SECONDS, self._settings.heartbeat_seconds / 4)
        link.read(min(seconds, deadline.remaining_seconds() or 0.0))
        while self._received:
            message = self._received.popleft()
            link.acknowledge(message.delivery_tag)
            found = _answered(message, open_ones)
            if found is not None and found[1].kind is Kind.REPLY:
                del open_ones[found[0]]
                yield found
        if self._unrouted and clock.monotonic_seconds() - self._tried_at > _LONGEST_READ_SECONDS:
            self._tried_at = clock.monotonic_seconds()
            late = {key: request for key, request in self._unrouted.items() if key in open_ones}
            for key, answer in self._send(late, is_first=False):
                del open_ones[key]
                yield key, answer
        link.send_heartbeat()


def _report_silent(open_ones: Iterable[RequestMessage], seconds: float) -> None:
    for node in sorted({names.queue_node(one.to) or one.to for one in open_ones if one.at_once}):
        _log.warning("%s has not answered for %g s; waiting up to %g s", node, SILENT_SECONDS, seconds)


def _answered(message: Any, open_ones: Mapping[str, RequestMessage]) -> Optional[Tuple[str, Delivery]]:
    """Key of the request that this answers, and the answer; None when it is late or not from the requested node."""
    try:
        delivery = read_delivery(message)
    except InvalidMessageError as error:
        _log.warning("an answer is discarded: %s", error)
        return None
    for key, request in open_ones.items():
        if request.message_id == delivery.correlation_id:
            if delivery.sender == names.queue_node(request.to):
                return key, delivery
            _log.warning("an answer of %s to a request to %s is discarded", delivery.sender, request.to)
    return None
