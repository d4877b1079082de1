"""The outbox of a daemon: messages in its store, sent to the broker by one thread, in order."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Dict

from rocks.core.errors import BusyError, RocksError
from rocks.storage.bus import Bus, Kind, Message, NotYetThereError, QueueFullError
from rocks.storage.store.file import OutboxMessage, StoreFile

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
