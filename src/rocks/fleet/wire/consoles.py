"""Requests about a machine's screen and serial console, and what it leaves on its host."""

from __future__ import annotations

from typing import Tuple

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.request import Request

CONSOLE_LOG_FOLDER = "/var/log/libvirt/qemu"
"""virtlogd writes the consoles there. It starts another file after 2 MiB, and keeps three older ones (its defaults)."""

NVRAM_FOLDER = "/var/lib/libvirt/qemu/nvram"
"""libvirt's own folder for the variables of UEFI."""

LARGEST_PICTURE_BYTES = 11 * 1024 * 1024
"""As base64 it fits into a reply."""

PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
"""The first bytes of each PNG."""

MAX_LINES = 10_000


def console_log(machine: str) -> str:
    """The file with the serial console of the machine with this UUID; a machine of the same name has another."""
    return f"{CONSOLE_LOG_FOLDER}/{machine}.console.log"


def nvram_file(machine: str) -> str:
    """The file with the variables of UEFI of the machine with this UUID; a stop leaves it."""
    return f"{NVRAM_FOLDER}/{machine}_VARS.fd"


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
class RemovedFiles:
    """How many files were removed."""

    files: int


@dataclass(frozen=True)
class ForgetMachinesRequest(Request[RemovedFiles]):
    """Remove what removed machines with these UUIDs have left: logs of consoles, and variables of UEFI."""

    machines: Tuple[str, ...]
