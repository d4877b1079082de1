"""The frame of both daemons: configuration, log, systemd, the end at SIGTERM; and the outbox of each."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Protocol, Sequence

from rocks.core.errors import BusyError, RocksError
from rocks.core.files import file_error
from rocks.storage.bus import Bus, BusSettings, Delivery, Kind, Message, NotYetThereError, QueueFullError
from rocks.storage.configuration import PATH, Configuration, read_configuration
from rocks.storage.store.file import OutboxMessage, RecordsError, StoreFile
from rocks.storage.stream.transport import Identity

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 5.0
_AT_ONCE = 100
BROKER_SECONDS = 15.0
"""How long a daemon's start waits for the broker."""

Lost = Callable[[OutboxMessage, RocksError], None]
"""Called for a message that can never be delivered: its queue does not exist, or this node may not write to it."""


class OutboxSender:
    """Sends the messages of the store when there are any, and again while the broker is away."""

    def __init__(self, bus: Bus, store: StoreFile, lost: Lost, posted: threading.Event) -> None:
        self._bus = bus
        self._store = store
        self._lost = lost
        self._posted = posted
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; waiting messages are sent after the next start."""
        self._stopping.set()
        self._posted.set()
        self._thread.join()

    def send_waiting(self) -> int:
        """Send the waiting messages in order; returns the number sent. BusyError when not all could be sent.

        That is while the broker is unreachable, or when a queue is full or does not exist yet: messages to other queues
        are sent all the same. A message is sent twice when the broker's confirmation was lost.
        """
        count = 0
        late: Dict[str, BusyError] = {}
        while True:
            messages = self._store.waiting(_AT_ONCE, tuple(late))
            if not messages:
                break
            count += sum(self._send(message, late) for message in messages)
        if late:
            raise next(iter(late.values()))
        return count

    def _send(self, one: OutboxMessage, late: Dict[str, BusyError]) -> bool:
        """Whether it was sent. `late` gets a queue that takes no messages yet, whose messages stay in order."""
        to = one.destination
        if to in late:
            return False
        try:
            self._bus.publish(
                Message(to, one.body, Kind(one.kind), one.message_id, one.correlation_id, one.reply_to)
            )
        except (NotYetThereError, QueueFullError) as error:
            late[to] = error
            return False
        except BusyError:
            raise
        except RocksError as error:
            self._store.sent(one.message_id)
            _log.warning("a message to %s is lost: %s", to, error)
            self._lost(one, error)
            return False
        self._store.sent(one.message_id)
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._posted.wait(_AGAIN_SECONDS)
            self._posted.clear()
            try:
                self.send_waiting()
            except BusyError:
                self._stopping.wait(0.5)
                self._posted.set()
            except RocksError as error:
                _log.warning("messages wait to be sent: %s", error)
            except Exception:  # noqa: BLE001 - messages must go on being sent
                _log.exception("a fault in sending; please report this")


# --- the frame: read the configuration, log, notify systemd, end at SIGTERM ------------------------------------------


PKI = Path("/etc/rocks/pki")


class Settings(NamedTuple):
    """The settings of a daemon."""

    configuration: Configuration
    bus: BusSettings
    identity: Identity


class Service(Protocol):
    """A daemon's own part."""

    def start(self) -> None:
        """Begin; RocksError when it cannot."""

    def close(self) -> None:
        """End."""


def read_settings(path: Path = PATH) -> Settings:
    """The node's configuration and certificate. StateError when it has none."""
    configuration = read_configuration(path)
    pair, authority = PKI / "node.pem", PKI / "ca.crt"
    bus = BusSettings(
        node=configuration.name,
        # the name in its certificate
        address=configuration.broker_name,
        pair_file=str(pair),
        authority_file=str(authority),
    )
    return Settings(configuration, bus, Identity(pair, pair, authority))


def when_recorded(handle: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
    """The handler, for messages that wait while what they bring cannot be recorded.

    Nobody sends again that a machine has ended: as a dead letter it would be lost for good.
    """

    def wait_or_handle(delivery: Delivery) -> None:
        try:
            handle(delivery)
        except RecordsError as error:
            _log.warning("%s", error)
            raise BusyError(str(error)) from error

    return wait_or_handle


def run_daemon(program: str, arguments: Sequence[str], make: Callable[[Settings], Service]) -> int:
    """Run a service until SIGTERM or SIGINT; returns the exit status, 1 when it could not start."""
    if arguments:
        print(f"usage: {program}, without arguments", file=sys.stderr)
        return 1
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        service = make(read_settings())
        service.start()
    except (RocksError, OSError) as error:
        known = error if isinstance(error, RocksError) else file_error(error)
        if known is None:
            raise
        print(f"Error: {known}", file=sys.stderr)
        return 1
    _notify_systemd("READY=1")
    ending.wait()
    _notify_systemd("STOPPING=1")
    service.close()
    return 0


def _notify_systemd(state: str) -> None:
    """sd_notify(3), where there is a notification socket."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        try:
            notifications.sendto(state.encode(), "\0" + place[1:] if place.startswith("@") else place)
        except OSError:
            pass  # the listener is gone
