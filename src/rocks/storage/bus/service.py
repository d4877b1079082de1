"""A daemon's end of the bus: one thread that owns the connection, another that runs the handler.

The connection's thread never runs the handler, so heartbeats are sent whatever it does. Other threads append their
jobs to a list and wake the thread with a byte in a pipe: it waits for the pipe and for the broker at once.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import queue
import select
import threading
from collections import deque
from dataclasses import field
from typing import Any, Callable, Deque, List, Optional, Tuple

from rocks.core.clock import monotonic_seconds
from rocks.core.dataclasses import dataclass
from rocks.core.errors import BugError, BusyError, RocksError
from rocks.storage.bus.link import (
    Backoff,
    BrokerAwayError,
    BusSettings,
    Delivery,
    InvalidMessageError,
    Link,
    Message,
    NotYetThereError,
    UndeliveredError,
    read_delivery,
)

_log = logging.getLogger(__name__)

_PREFETCH = 16
_MAX_WAITING = 1000
"""Messages that wait to be sent."""

_LONGEST_WAIT_SECONDS = 5.0
_REQUEUED_AFTER_SECONDS = 900.0
"""RabbitMQ 3.10 ends a consumer that has an unacknowledged message for 30 minutes (consumer_timeout)."""

_CLOSING_SECONDS = 10.0
_SAME_WARNING_SECONDS = 300.0

Handler = Callable[[Delivery], None]


@dataclass
class _Pending:
    """A message without acknowledgement; `connection` counts connections, since a tag is valid on one of them only."""

    connection: int
    tag: int
    delivery: Delivery
    since: float = field(default_factory=monotonic_seconds)
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 30.0))


class _Job:
    """A job of the connection's thread for another thread, which may wait for it."""

    def __init__(self, work: Callable[[Link], None]) -> None:
        self.work = work
        self.error: Optional[RocksError] = None
        self.done = threading.Event()

    def finish(self, error: Optional[RocksError]) -> None:
        self.error = error
        self.done.set()


class Bus:
    """Sends, and passes each message of `queue_name` to `handler`, until it is closed.

    The handler returns when its effect is on disk; then the message is acknowledged. After a BusyError the handler gets
    the same message again a little later. After any other error the message becomes a dead letter, and the error is
    logged. Messages arrive in order, except for repeated ones. `on_connected` is called in the handler's thread after
    each connection to the broker.
    """

    return_seconds = 60.0
    """After a connection, a missing queue may be that of a daemon that is still connecting (`NotYetThereError`)."""

    def __init__(
        self,
        settings: BusSettings,
        queue_name: Optional[str] = None,
        handler: Optional[Handler] = None,
        on_connected: Optional[Callable[[], None]] = None,
    ) -> None:
        self._settings = settings
        self._queue_name = queue_name
        self._handler = handler
        self._on_connected = on_connected
        self._jobs: Deque[_Job] = deque()
        self._jobs_lock = threading.Lock()
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._retries: List[Tuple[float, int, _Pending]] = []
        self._count = itertools.count()
        self._connection = 0
        self._connected_since = 0.0
        self._connected = threading.Event()
        self._closing = threading.Event()
        self._leaving = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._last_warning: Tuple[str, float] = ("", 0.0)
        self._handlers = threading.Thread(target=self._run_handlers, name="bus-handler", daemon=True)
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)

    def start(self) -> None:
        """Start the threads, and return at once; the broker need not be reachable."""
        self._thread.start()
        self._handlers.start()

    def close(self) -> None:
        """Wait for the running handler, 10 s at most, acknowledge, and disconnect."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._work.put(None)
        self._handlers.join(_CLOSING_SECONDS)
        self._leaving.set()
        self._wake()
        self._thread.join(_CLOSING_SECONDS)
        self._fail_jobs(BrokerAwayError("this daemon is disconnecting from the message broker"))

    def wait_until_connected(self, deadline_seconds: float) -> bool:
        """Whether there is a connection to the broker within the time."""
        return self._connected.wait(deadline_seconds)

    def publish(self, message: Message) -> None:
        """Send, and return when the broker has the message on disk. Errors as `Link.publish`, and NotYetThereError.

        BrokerAwayError at once while there is no connection: store the message, and send it from `on_connected`.
        """
        job = _Job(lambda link: link.publish(message))
        with self._jobs_lock:
            if not self._connected.is_set() or self._leaving.is_set():
                raise BrokerAwayError(
                    f"there is no connection to the message broker at {self._settings.address}"
                )
            if len(self._jobs) >= _MAX_WAITING:
                raise BusyError(
                    f"{_MAX_WAITING} messages wait for the message broker, which is the limit: rocks check site"
                )
            self._jobs.append(job)
        self._wake()
        # earlier messages wait for their confirmations too; a broken connection fails all of them at once
        if not job.done.wait(self._settings.confirm_deadline_seconds * 2):
            raise BrokerAwayError("the message broker has not confirmed a message in time; it may have it")
        is_new = monotonic_seconds() - self._connected_since < self.return_seconds
        if isinstance(job.error, UndeliveredError) and is_new:
            raise NotYetThereError(f"{job.error}; its daemon may be connecting")
        if job.error is not None:
            raise job.error

    # the connection's thread

    def _run(self) -> None:
        backoff = Backoff()
        while not self._leaving.is_set():
            link = Link(self._settings)
            try:
                self._begin(link)
                backoff.reset()
                self._serve(link)
            except RocksError as error:
                self._lost(error)
            except Exception as error:  # noqa: BLE001 - the bus must outlive its own faults
                _log.exception("a fault in the bus")
                self._lost(BugError(f"{type(error).__name__} in the bus; please report this"))
            finally:
                link.close()
            self._leaving.wait(backoff.next_seconds())

    def _begin(self, link: Link) -> None:
        link.open()
        self._connection += 1
        self._retries.clear()
        if self._queue_name is not None:
            link.ensure_daemon_queue(self._queue_name)
            link.consume(self._queue_name, _PREFETCH, self._receiver(link))
        _log.info("connected to the message broker at %s", self._settings.address)
        self._last_warning = ("", 0.0)
        self._connected_since = monotonic_seconds()
        self._connected.set()
        if self._on_connected is not None:
            self._work.put(self._on_connected)

    def _serve(self, link: Link) -> None:
        link.read()  # a message may have come in one piece with the answer to `consume`, unseen by `select`
        while self._jobs or not self._leaving.is_set():
            watched = [link.fileno(), self._wake_read]
            ready, _, _ = select.select(watched, [], [], self._wait_seconds())
            if self._wake_read in ready:
                _drain(self._wake_read)
            self._do_jobs(link)
            # whether `link` is ready or not: while it waits for a confirmation, the library reads later messages too
            link.read()
            self._start_retries()
            link.send_heartbeat()

    def _wait_seconds(self) -> float:
        most = min(_LONGEST_WAIT_SECONDS, self._settings.heartbeat_seconds / 4)
        return max(0.0, min(most, self._retries[0][0] - monotonic_seconds())) if self._retries else most

    def _do_jobs(self, link: Link) -> None:
        while self._jobs:
            job = self._jobs[0]
            try:
                job.work(link)
            except BrokerAwayError:
                raise  # fails this job with all the others
            except RocksError as error:
                self._jobs.popleft()
                job.finish(error)
            else:
                self._jobs.popleft()
                job.finish(None)

    def _start_retries(self) -> None:
        now = monotonic_seconds()
        while self._retries and self._retries[0][0] <= now:
            self._work.put(heapq.heappop(self._retries)[2])

    def _receiver(self, link: Link) -> Callable[[Any], None]:
        def received(message: Any) -> None:
            try:
                delivery = read_delivery(message)
            except InvalidMessageError as error:
                _log.error("a message on %s becomes a dead letter: %s", self._queue_name, error)
                link.reject(message.delivery_tag)
                return
            self._work.put(_Pending(self._connection, message.delivery_tag, delivery))

        return received

    def _lost(self, error: RocksError) -> None:
        with self._jobs_lock:
            self._connected.clear()
        self._fail_jobs(error)
        text, since = self._last_warning
        now = monotonic_seconds()
        if str(error) != text or now - since > _SAME_WARNING_SECONDS:
            self._last_warning = (str(error), now)
            _log.warning("%s; retrying until it succeeds", error)

    def _fail_jobs(self, error: RocksError) -> None:
        while self._jobs:
            self._jobs.popleft().finish(error)

    # the handler's thread

    def _run_handlers(self) -> None:
        while True:
            item = self._work.get()
            if item is None:
                return
            if not isinstance(item, _Pending):
                self._report_connected(item)
            elif item.connection == self._connection and not self._closing.is_set():
                self._handle(item)

    def _report_connected(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except RocksError as error:
            _log.warning("after connecting: %s", error)
        except Exception:  # noqa: BLE001
            _log.exception("a fault after connecting; please report this")

    def _handle(self, pending: _Pending) -> None:
        assert self._handler is not None
        try:
            self._handler(pending.delivery)
        except BusyError as error:
            _log.info("message %s waits: %s", pending.delivery.message_id, error)
            if monotonic_seconds() - pending.since > _REQUEUED_AFTER_SECONDS:
                self._settle(pending, lambda link: link.requeue(pending.tag))
            else:
                self._settle(pending, lambda _link: self._schedule_retry(pending))
        except Exception as error:  # noqa: BLE001 - after no error may the message come for ever
            text = str(error) if isinstance(error, RocksError) else f"{type(error).__name__}: {error}"
            _log.exception("message %s becomes a dead letter: %s", pending.delivery.message_id, text)
            self._settle(pending, lambda link: link.reject(pending.tag))
        else:
            self._settle(pending, lambda link: link.acknowledge(pending.tag))

    def _schedule_retry(self, pending: _Pending) -> None:
        due = monotonic_seconds() + pending.backoff.next_seconds()
        heapq.heappush(self._retries, (due, next(self._count), pending))

    def _settle(self, pending: _Pending, work: Callable[[Link], None]) -> None:
        """Do the work in the connection's thread, if its connection is still that of the message."""

        def settle(link: Link) -> None:
            if pending.connection == self._connection:
                work(link)

        with self._jobs_lock:
            if self._connected.is_set():
                self._jobs.append(_Job(settle))
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # it is full, so the thread is awake


def _drain(pipe: int) -> None:
    try:
        while os.read(pipe, 4096):
            pass
    except BlockingIOError:
        pass
