"""A host reports to the NASes of its images that it is there; one thread.

The message is sent through the broker like every other, so a NAS that receives it knows that the whole way works.
"""

from __future__ import annotations

import threading
from typing import Dict

from rocks.core.periodic import PeriodicThread
from rocks.storage.limits import HEARTBEAT_SECONDS
from rocks.storage.store.host import HostStore


class Heartbeats(PeriodicThread):
    """A message to each NAS that has an image here."""

    def __init__(self, store: HostStore, posted: threading.Event) -> None:
        super().__init__(
            "heartbeats",
            HEARTBEAT_SECONDS,
            self.beat,
            "the NASes could not be informed that this host is there",
        )
        self._store = store
        self._posted = posted
        self._last: Dict[str, str] = {}

    def beat(self) -> None:
        """One round. While the last message to a NAS has not been sent, as without a broker, there is no other.

        An image that is written back has no stage any more, but an open request.
        """
        working = {request.zvol for request in self._store.open_requests()}
        users = {
            str(one.details["nas"])
            for one in self._store.copies()
            if one.known.stage != "none" or one.known.zvol in working
        }
        for nas in sorted(users):
            if self._store.unsent(self._last.get(nas, "")) is None:
                self._last[nas] = self._store.report(nas, {"alive": True})
        if users:
            self._posted.set()
