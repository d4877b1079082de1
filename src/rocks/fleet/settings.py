"""The address of a physical host, and the settings of connections."""

from __future__ import annotations

from typing import NamedTuple

from rocks.core.errors import StateError
from rocks.fleet.wire.envelope import AGENT_PROGRAM


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
    the sockets of the connections that later commands use again (`rocks.fleet.masters`); empty: none are used.
    """

    key_file: str = "/etc/rocks/ssh/id_ed25519"
    known_hosts_file: str = "/etc/rocks/ssh/known_hosts"
    user: str = "root"
    agent_program: str = AGENT_PROGRAM
    connect_deadline_seconds: float = 5.0
    login_deadline_seconds: float = 15.0
    threads: int = 64
    control_folder: str = "/run/rocks/ssh"
