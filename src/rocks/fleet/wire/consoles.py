"""Requests about the picture on a machine's screen, and the last lines of its serial console."""

from __future__ import annotations

from typing import Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.request import Request

CONSOLE_LOG_FOLDER = "/var/log/libvirt/qemu"
"""virtlogd writes the consoles there. It starts another file after 2 MiB, and keeps three older ones (its defaults)."""

LARGEST_PICTURE_BYTES = 11 * 1024 * 1024
"""As base64 it fits into a reply."""

PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
"""The first bytes of each PNG."""

MAX_LINES = 10_000


def console_log(machine: str) -> str:
    """The file with the serial console of the machine with this UUID; a machine of the same name has another."""
    return f"{CONSOLE_LOG_FOLDER}/{machine}.console.log"


@dataclass(frozen=True)
class ScreenFact:
    """The picture on the screen: a PNG, in base64."""

    png: str


@dataclass(frozen=True)
class ScreenRequest(Request[ScreenFact]):
    """Take a picture of the screen of the running domain `name`. StateError when it is larger than a reply."""

    name: str


@dataclass(frozen=True)
class ConsoleLogFact:
    """The last lines of a console, without line ends, as the guest has sent them; none: nothing has been written."""

    lines: Tuple[str, ...]


@dataclass(frozen=True)
class ConsoleLogRequest(Request[ConsoleLogFact]):
    """The last `lines` lines of the console of the machine with this UUID, whether it runs or not."""

    machine: str
    lines: int


@dataclass(frozen=True)
class RemovedLogs:
    """How many files were removed."""

    files: int


@dataclass(frozen=True)
class RemoveConsoleLogsRequest(Request[RemovedLogs]):
    """Remove the logs of the consoles of the machines with these UUIDs, and the links to them."""

    machines: Tuple[str, ...]
