"""The outbox of a daemon: messages in its store, sent to the broker by one thread, in order."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Collection, Optional, Sequence

from rocks.core.errors import BusyError, RocksError
from rocks.storage.bus import Bus, Kind, Message, send_waiting
from rocks.storage.store.file import OutboxMessage, StoreFile

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 5.0
BROKER_SECONDS = 15.0
"""How long a daemon's start waits for the broker."""

Lost = Callable[[OutboxMessage, RocksError], None]
"""Called for a message that cannot be delivered."""


class StoredOutbox:
    """The messages of the store in the form that the bus expects."""

    def __init__(self, store: StoreFile, lost: Lost) -> None:
        self._store = store
        self._lost = lost

    def waiting(self, most: int, passing_over: Collection[str] = ()) -> Sequence[Message]:
        """The oldest messages that are not yet sent, but for those to some queues."""
        return [
            Message(
                one.destination, one.body, Kind(one.kind), one.message_id, one.correlation_id, one.reply_to
            )
            for one in self._store.waiting(most, passing_over)
        ]

    def sent(self, message_id: str) -> None:
        """The broker has it."""
        self._store.sent(message_id)

    def failed(self, message_id: str, why: RocksError) -> None:
        """It cannot be delivered."""
        message: Optional[OutboxMessage] = self._store.unsent(message_id)
        self._store.sent(message_id)
        if message is not None:
            _log.warning("a message to %s is lost: %s", message.destination, why)
            self._lost(message, why)


class OutboxSender:
    """Sends the messages of the store when there are any, and again while the broker is away."""

    def __init__(self, bus: Bus, store: StoreFile, lost: Lost, posted: threading.Event) -> None:
        self._bus = bus
        self._outbox = StoredOutbox(store, lost)
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

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._posted.wait(_AGAIN_SECONDS)
            self._posted.clear()
            try:
                send_waiting(self._bus, self._outbox)
            except BusyError:
                self._stopping.wait(0.5)
                self._posted.set()
            except RocksError as error:
                _log.warning("messages wait to be sent: %s", error)
            except Exception:  # noqa: BLE001 - messages must go on being sent
                _log.exception("a fault in sending; please report this")
