"""Which hosts send something. One that is silent for long is reported, and nothing else: only fencing makes it safe.

Silence changes the state of no image: a broken switch would else stop the write-back of every guest that runs
on. Heartbeats use the queues of answers, since a daemon that hangs is still a consumer of its queue.
"""

from __future__ import annotations

import logging
import threading
from typing import Callable, Dict, Iterable, Optional, Set

from rocks.core.clock import monotonic_seconds
from rocks.storage.life.image import Image
from rocks.storage.limits import LOST_SECONDS
from rocks.storage.store.nas import NasStore

_log = logging.getLogger(__name__)


class HostPresence:
    """When each host last sent something. Time before the start of the daemon does not count."""

    def __init__(self, store: NasStore, now: Callable[[], float] = monotonic_seconds) -> None:
        self._store = store
        self._now = now
        self._began = now()
        self._active_at: Dict[str, float] = {}
        self._expected = set(store.beating_hosts())
        self._lost: Set[str] = set()
        self._lock = threading.Lock()

    def note(self, host: str, *, is_heartbeat: bool = False) -> None:
        """A message of the host has come. After its first heartbeat, others are expected, also after a restart."""
        with self._lock:
            self._active_at[host] = self._now()
            is_new = is_heartbeat and host not in self._expected
            if is_new:
                self._expected.add(host)
        if is_new:
            self._store.add_beating_host(host)

    def silent_seconds(self, host: Optional[str]) -> Optional[float]:
        """How long a host is silent that should not be; None for all others."""
        if host is None:
            return None
        with self._lock:
            silent = self._now() - self._active_at.get(host, self._began)
            return silent if host in self._expected and silent >= LOST_SECONDS else None

    def look(self, images: Iterable[Image]) -> None:
        """Log hosts with images that have become silent, and those that are back."""
        for host in sorted({image.owner for image in images if image.owner is not None} | self._lost):
            silent = self.silent_seconds(host)
            if silent is not None and host not in self._lost:
                self._lost.add(host)
                _log.error(
                    "%s has images of this NAS and has been silent for %.0f s; if it is lost, power it off, then give "
                    "its changes up by `rocks clean host storagemap`",
                    host,
                    silent,
                )
            elif silent is None and host in self._lost:
                self._lost.discard(host)
                _log.info("%s is back", host)
