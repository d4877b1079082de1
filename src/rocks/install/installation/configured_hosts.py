"""Hosts that have just been configured for the first time: they get accounts of people and their secret attributes."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from rocks.core import process
from rocks.core.errors import RocksError
from rocks.trust.handed_out_secrets import record_sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.settings import Settings

_SECRETS = ("sync", "host", "sec_attr")
COMMANDS = (("sync", "users"), _SECRETS)
"""Commands of `rocks` for a new host; each takes its name."""

_SECONDS = 600.0


class FirstSync:
    """Runs the commands for new hosts, one host after the other, as an operator would.

    A host may report that it is configured as often as it likes: its secrets are sent once for each installation.
    """

    def __init__(self, launcher: str, log: Callable[[str], None], settings: Settings) -> None:
        """`launcher` is the program `rocks`; `log` gets a line for each command that failed, or is not run."""
        self._launcher, self._log, self._settings = launcher, log, settings
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock, self._named = threading.Lock(), set[str]()
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, host: str) -> None:
        """Have the commands run for the host, and return at once. A host that waits already does not wait twice."""
        with self._lock:
            if host not in self._named:
                self._named.add(host)
                self._waiting.put(host)

    def _work(self) -> None:
        while True:
            host = self._waiting.get()
            with self._lock:
                self._named.discard(host)
            for command in COMMANDS:
                try:
                    if command == _SECRETS and not record_sent(self._settings, host):
                        self._log(
                            f"{host} was configured once more since its installation, and its secrets are not sent "
                            f"again: rocks {' '.join(command)} {host}"
                        )
                        continue
                    process.run_checked([self._launcher, *command, host], deadline_seconds=_SECONDS)
                except RocksError as error:
                    self._log(f"{host} was configured, but: {error}; rocks {' '.join(command)} {host}")
