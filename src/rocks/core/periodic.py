"""A thread that does the same again after each pause."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Optional

from rocks.core.errors import RocksError


class PeriodicThread:
    """Calls a function again after each pause, until it is closed; no error ends it."""

    def __init__(
        self, name: str, pause_seconds: float, one_round: Callable[[], Optional[float]], failure: str
    ) -> None:
        """`one_round` returns the seconds until the next, or None: `pause_seconds`.

        `failure` says what an error of a round means; it is logged under the name of the derived class' module.
        """
        self._pause_seconds = pause_seconds
        self._round = one_round
        self._failure = failure
        self._log = logging.getLogger(type(self).__module__)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, after a pause."""
        self._thread.start()

    def close(self) -> None:
        """End, after the present round."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause: Optional[float] = self._pause_seconds
        while not self._stopping.wait(self._pause_seconds if pause is None else pause):
            pause = None
            try:
                pause = self._round()
            except (RocksError, OSError) as error:
                self._log.warning("%s: %s", self._failure, error)
            except Exception:  # noqa: BLE001 - the thread must survive its own faults
                self._log.exception("%s; please report this", self._failure)
