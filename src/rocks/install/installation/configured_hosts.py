"""Hosts that have just been configured for the first time: they get accounts of people and their secret attributes."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core import process
from rocks.core.errors import HostError, RocksError, ToolError
from rocks.core.files import ensure_folders, remove_file, write_file
from rocks.trust.secrets import TO_SYNC, begin_sending, record_sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.database.settings import Settings

_SECRETS = ("sync", "host", "sec_attr")
COMMANDS = (("sync", "users"), _SECRETS)
"""Commands of `rocks` for a new host; each takes its name."""

_SECONDS = 600.0


def record_configured(settings: Settings, host: str) -> None:
    """Record that the host waits for the commands, until they have ended. HostError when that cannot be written."""
    path = _record_of(settings, host)
    try:
        ensure_folders(path.parent, 0o700)
        write_file(path, "", mode=0o600)
    except OSError as error:
        raise HostError(f"cannot record that {host} is configured: {error.strerror} ({path})") from None


def _record_of(settings: Settings, host: str) -> Path:
    return Path(settings.state_folder) / TO_SYNC / host.lower()


def _number_of(settings: Settings, host: str) -> int | None:
    """The inode of the host's record, which each report makes anew; None without a record."""
    try:
        return _record_of(settings, host).stat().st_ino
    except FileNotFoundError:
        return None


class FirstSync:
    """Runs the commands for new hosts, one host after the other, as an operator would.

    It begins with the hosts whose commands had not ended when the last process stopped. A host may report that
    it is configured as often as it likes: its secrets are sent once for each installation.
    """

    def __init__(self, launcher: str, log: Callable[[str], None], settings: Settings) -> None:
        """`launcher` is the program `rocks`; `log` gets a line for each command that failed, or is not run."""
        self._launcher, self._log, self._settings = launcher, log, settings
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock, self._named = threading.Lock(), set[str]()
        folder = _record_of(settings, "any").parent
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.name.startswith("."):  # a draft of a process that was killed
                self.put(path.name)
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
            number = _number_of(self._settings, host)
            if all(self._run(host, command) for command in COMMANDS):
                self._forget(host, number)

    def _run(self, host: str, command: tuple[str, ...]) -> bool:
        """Whether the command has ended by itself, and not by a signal, as when the service is stopped."""
        text = f"rocks {' '.join(command)} {host}"
        if _number_of(self._settings, host) is None:
            self._log(f"{host} is installed anew, so this is not run: {text}")
            return False
        try:
            if command == _SECRETS and not begin_sending(self._settings, host):
                self._log(
                    f"{host} was configured once more since its installation, and its secrets are not sent "
                    f"again: {text}"
                )
                return True
            finished = process.run([self._launcher, *command, host], deadline_seconds=_SECONDS)
            if finished.exit_status < 0:
                self._log(
                    f"{text} was ended by signal {-finished.exit_status}; "
                    "rocks-kickstart repeats it at its next start"
                )
                return False
            if finished.exit_status != 0:
                reason = finished.error_text or "it printed nothing"
                raise ToolError(f"exit status {finished.exit_status}: {reason}")
            if command == _SECRETS:
                record_sent(self._settings, host)
        except RocksError as error:
            self._log(f"{host} is configured, but this failed: {error}; {text}")
        return True

    def _forget(self, host: str, number: int | None) -> None:
        with self._lock:
            if host in self._named or _number_of(self._settings, host) != number:
                return  # it was configured once more meanwhile
            try:
                remove_file(_record_of(self._settings, host))
            except OSError as error:
                self._log(f"the record that {host} is configured cannot be removed: {error}")
