"""Threads that drive the host's engine: one worker per image, many images at once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Dict, Iterator, Set

from rocks.core.clock import Deadline, monotonic_seconds, wait_seconds
from rocks.core.errors import HostError, IncoherentError, RocksError
from rocks.storage.bus.link import Backoff
from rocks.storage.host.engine import HostEngine
from rocks.storage.host.request_messages import image_of
from rocks.storage.store.host import HostStore
from rocks.storage.wire.messages import Message

_log = logging.getLogger(__name__)

WORKERS = 32
"""More than the merges and copies at once, each of which occupies a worker; they mostly wait."""

_REBUILD_AGAIN_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 10.0
"""Between two tries of a rebuild: its guest may wait for the NAS."""
_POLL_SECONDS = 0.1
_QUIET_SECONDS = 120.0
"""A copy of an image with a request within that time is about to be used: it is not evicted."""


class HostWorkers:
    """Calls the engine for every image that has a request or a rebuild, until there is none."""

    def __init__(self, store: HostStore, engine: HostEngine) -> None:
        self._store = store
        self._engine = engine
        self._busy: Set[str] = set()
        self._again: Set[str] = set()
        self._lock = threading.Lock()
        self._asked_at: Dict[str, float] = {}
        self._pauses: Dict[str, Backoff] = {}
        self._closing = threading.Event()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="image")
        self.posted = self._engine.posted
        """Set when there may be messages to send."""

    def start(self) -> None:
        """Rebuild every image's devices, then perform the open requests."""
        for zvol in self._engine.images:
            self._wake(zvol)

    def wait_until_rebuilt(self, deadline: Deadline) -> None:
        """Until the rebuild of every image's devices has been tried, so that the next services find the devices."""
        while self._engine.has_untried and not deadline.passed():
            wait_seconds(_POLL_SECONDS)

    def take(self, message: Message, sender: str, body: bytes) -> None:
        """Record a request; a worker performs it. One that this release cannot read is answered by an error."""
        try:
            zvol = image_of(message)
        except IncoherentError as error:
            self.reject(message, sender, error)
            return
        with self._lock:
            self._asked_at[zvol] = monotonic_seconds()
        waiting = self._engine.take(message, sender, body)
        if waiting is not None:
            self._wake(waiting)

    def reject(self, message: Message, sender: str, error: RocksError) -> None:
        """Answer a request that another release has sent: its NAS reports the cause, and tries again later."""
        text = f"this daemon cannot read the request ({error}): install the release of {sender} on this host"
        self._engine.reject(message, sender, HostError(text))

    @contextmanager
    def reserved(self, zvol: str) -> Iterator[bool]:
        """Whether no worker has the image and no request for it has come for a while; none begins in the `with`."""
        copy = self._store.copy(zvol)
        with self._lock:
            is_quiet = monotonic_seconds() - self._asked_at.get(zvol, -_QUIET_SECONDS) >= _QUIET_SECONDS
            is_unused = copy is None or copy.known.stage == "none"
            is_idle = is_quiet and is_unused and zvol not in self._busy
            if is_idle:
                self._busy.add(zvol)
        try:
            yield is_idle
        finally:
            if is_idle and self._leave(zvol):
                self._wake(zvol)

    def close(self) -> None:
        """Let the requests under way end, and begin no others."""
        self._closing.set()
        self._workers.shutdown(wait=True)

    def _wake(self, zvol: str) -> None:
        with self._lock:
            if zvol in self._busy:
                self._again.add(zvol)
                return
            if self._closing.is_set():
                return
            self._busy.add(zvol)
        self._workers.submit(self._work_on, zvol)

    def _work_on(self, zvol: str) -> None:
        try:
            while self._may_go_on(zvol) and self._engine.step(zvol):
                pass
        except Exception:  # noqa: BLE001 - one image's fault must not end the worker of all
            _log.exception("a fault at %s; please report this", zvol)
        finally:
            if self._leave(zvol):
                self._wake(zvol)
            elif not self._engine.must_rebuild(zvol):
                self._pauses.pop(zvol, None)
            elif not self._closing.is_set():
                self._wake_later(zvol)

    def _leave(self, zvol: str) -> bool:
        """Nobody has the image any more; returns whether a worker is to wake."""
        with self._lock:
            self._busy.discard(zvol)
            is_needed = zvol in self._again
            self._again.discard(zvol)
            return is_needed

    def _may_go_on(self, zvol: str) -> bool:
        """A request that has begun ends before the daemon does."""
        return not self._closing.is_set() or self._engine.is_performing(zvol)

    def _wake_later(self, zvol: str) -> None:
        pause = self._pauses.setdefault(zvol, Backoff(_REBUILD_AGAIN_SECONDS, _LONGEST_PAUSE_SECONDS))
        later = threading.Timer(pause.next_seconds(), self._wake, (zvol,))
        later.daemon = True
        later.start()
