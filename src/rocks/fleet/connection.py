"""A connection to a physical host: its address, its settings and its interface."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from rocks.core.clock import Deadline
from rocks.core.errors import HostError, StateError
from rocks.fleet.agent_line import AgentLine
from rocks.fleet.wire.calls import AGENT_PROGRAM


class CannotAskError(StateError):
    """This machine cannot ask the host, by a fault of its own: nothing is known of the host."""


class NoAddressError(CannotAskError):
    """No name server has an address of the host: of a host that is gone, or because no name server is reached."""


class HostAddress(NamedTuple):
    """A host's name in the cluster database, and the address of its sshd; `is_local` is true for this machine.

    `problem` is why there is no valid address; empty when there is one.
    """

    name: str
    address: str
    port: int = 22
    is_local: bool = False
    problem: str = ""

    def check(self) -> None:
        """CannotAskError for a host without a valid address. Every connection begins with this."""
        if self.problem and not self.is_local:
            raise CannotAskError(self.problem)


class FleetSettings(NamedTuple):
    """The settings of all connections: key, known hosts, user, agent, and deadlines.

    `connect_deadline_seconds` ends with the banner of an SSH server; `login_deadline_seconds` runs from then until a
    program has been started. `threads` bounds the number of hosts that are contacted at once. In `control_folder` lie
    the sockets of the connections that later commands use again (`rocks.fleet.openssh`); empty: none are used.
    """

    key_file: str = "/etc/rocks/ssh/id_ed25519"
    known_hosts_file: str = "/etc/rocks/ssh/known_hosts"
    user: str = "root"
    agent_program: str = AGENT_PROGRAM
    connect_deadline_seconds: float = 5.0
    login_deadline_seconds: float = 15.0
    threads: int = 64
    control_folder: str = "/run/rocks/ssh"


# The interface of connections to hosts, by SSH or on this machine.


MAXIMUM_OUTPUT_BYTES = 64 * 1024 * 1024
"""The bound of a command's output, for standard output and standard error each; more is dropped."""


class DownError(HostError):
    """No SSH server answers at the host's address."""


class CommandOutput(NamedTuple):
    """Output and exit status of a command on a host. `exit_status` is None after a kill at the timeout.

    `dropped_bytes` counts the output beyond the bound.
    """

    exit_status: int | None
    output: bytes
    error_output: bytes
    dropped_bytes: int = 0


class Connection(Protocol):
    """A connection to a host. Not safe for several threads."""

    def open_agent(self) -> AgentLine:
        """Start an agent there. DownError when no SSH server answers, HostError for other failures."""

    def run(self, command: str, timeout_seconds: float | None, standard_input: bytes = b"") -> CommandOutput:
        """Run a command line of the user with bash there; at the timeout all its processes are killed.

        It must read its input before it writes much.

        DownError and HostError as `open_agent`.
        """

    def close(self) -> None:
        """Close the connection; programs at the other end run to their end."""


class BoundedBuffer:
    """The beginning of an output, up to the bound."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.dropped_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Append as much as fits; count the rest."""
        free_bytes = MAXIMUM_OUTPUT_BYTES - len(self.data)
        self.data += chunk[:free_bytes]
        self.dropped_bytes += max(0, len(chunk) - free_bytes)


def command_output(
    exit_status: int | None, output: BoundedBuffer, error_output: BoundedBuffer
) -> CommandOutput:
    """The result of a command, from its buffers."""
    dropped_bytes = output.dropped_bytes + error_output.dropped_bytes
    return CommandOutput(exit_status, bytes(output.data), bytes(error_output.data), dropped_bytes)


def some_seconds(deadline: Deadline) -> float | None:
    """The remaining seconds of a deadline, above 0: libraries take 0 as "do not wait"."""
    remaining = deadline.remaining_seconds()
    return None if remaining is None else max(0.001, remaining)
