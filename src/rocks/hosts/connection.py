"""What a connection to a host can do, whether it goes by SSH or stays on this machine."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from rocks.clock import Deadline
from rocks.errors import HostError
from rocks.hosts.agent_line import AgentLine

MAXIMUM_OUTPUT_BYTES = 64 * 1024 * 1024
"""How much of a command's output is kept, each of standard output and standard error."""


class DownError(HostError):
    """Nothing that speaks SSH answers at the host's address."""


class Ran(NamedTuple):
    """A command's end on a host. `exit_status` is None when its time was over and it was killed.

    What it printed beyond the bound was dropped: `dropped_bytes`.
    """

    exit_status: int | None
    output: bytes
    error_output: bytes
    dropped_bytes: int = 0


class Connection(Protocol):
    """A host that can be told things. Not for two threads at once."""

    def open_agent(self) -> AgentLine:
        """Start an agent there. DownError when nothing answers, HostError for any other reason it cannot."""

    def run(self, command: str, timeout_seconds: float | None) -> Ran:
        """Run a command line of the user's own by bash there; when its time is over all of it is killed.

        DownError and HostError as `open_agent`.
        """

    def close(self) -> None:
        """End the connection; what is under way at the far end comes to its own end."""


class Kept:
    """The beginning of an output, up to the bound."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.dropped_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Keep what still fits."""
        room = MAXIMUM_OUTPUT_BYTES - len(self.data)
        self.data += chunk[:room]
        self.dropped_bytes += max(0, len(chunk) - room)


def ran(exit_status: int | None, output: Kept, error_output: Kept) -> Ran:
    """A command's end with what was kept of its output."""
    dropped_bytes = output.dropped_bytes + error_output.dropped_bytes
    return Ran(exit_status, bytes(output.data), bytes(error_output.data), dropped_bytes)


def some_seconds(deadline: Deadline) -> float | None:
    """What is left of a deadline for a library that takes 0 for "do not wait at all"."""
    remaining = deadline.remaining_seconds()
    return None if remaining is None else max(0.001, remaining)
