"""Programs on a machine of the lab, over SSH as root.

Each has a connection of its own: a shared one keeps the programs' pipes open, and a machine that hangs
would then block its caller beyond any deadline (OpenSSH 9.2).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rocks.core.errors import HostError, ToolError
from rocks.core.process import Finished, run

KEY_FILE = "operator_key"
KNOWN_HOSTS_FILE = "known_hosts"
_CONNECT_SECONDS = 15
_NO_CONNECTION = 255


class Login:
    """The operator's way into one machine. The folder `keys` has his key and all public ones."""

    def __init__(self, name: str, address: str, keys: Path) -> None:
        self._name = name
        self._address = address
        self._keys = keys

    def run(self, arguments: Sequence[str], deadline_seconds: float, standard_input: bytes = b"") -> Finished:
        """Run a program there, whatever its exit status. HostError when the machine cannot be reached."""
        login = ssh_command(self._name, self._address, self._keys, batch=True)
        program = [*login, "--", shlex.join(arguments)]
        try:
            finished = run(program, deadline_seconds=deadline_seconds, standard_input=standard_input)
        except ToolError:
            raise HostError(
                f"{self._name} did not finish `{shlex.join(arguments)}` within {deadline_seconds:g} s"
            ) from None
        if finished.exit_status == _NO_CONNECTION:
            raise HostError(f"{self._name} cannot be reached: {_last_line(finished.error_text)}")
        return finished

    def run_checked(
        self, arguments: Sequence[str], deadline_seconds: float, standard_input: bytes = b""
    ) -> Finished:
        """As `run`, but ToolError with the program's own error unless it exits with 0."""
        finished = self.run(arguments, deadline_seconds, standard_input)
        if finished.exit_status != 0:
            reason = finished.error_text or finished.text.strip() or "it printed nothing"
            raise ToolError(
                f"`{shlex.join(arguments)}` on {self._name} failed with exit status {finished.exit_status}: {reason}"
            )
        return finished


def ssh_command(name: str, address: str, keys: Path, batch: bool = False) -> list[str]:
    """The argument vector that logs in as root with the operator's key; a program's arguments may follow it.

    `batch`: ssh asks no questions.
    """
    options = {
        "BatchMode": "yes" if batch else "no",
        "ConnectTimeout": str(_CONNECT_SECONDS),
        "HostKeyAlias": name,
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(keys / KNOWN_HOSTS_FILE),
    }
    settings = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
    return ["ssh", "-F", "none", "-i", str(keys / KEY_FILE), *settings, f"root@{address}"]


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "ssh gave no reason"
