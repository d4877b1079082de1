"""Where a physical host is, and how this machine goes about reaching it."""

from __future__ import annotations

from typing import NamedTuple

from rocks.wire.envelope import AGENT_PROGRAM


class HostAddress(NamedTuple):
    """A host's name in the cluster database, and where its sshd answers; `is_local` is this very machine."""

    name: str
    address: str
    port: int = 22
    is_local: bool = False


class FleetSettings(NamedTuple):
    """What all connections share: whose key, which known hosts, which agent, and how long to wait.

    `connect_deadline_seconds` runs until something at the address greets us as an SSH server,
    `login_deadline_seconds` from then until a program has been started there. `threads` bounds how many
    hosts are spoken to at once.
    """

    key_file: str = "/etc/rocks/ssh/id_ed25519"
    known_hosts_file: str = "/etc/rocks/ssh/known_hosts"
    user: str = "root"
    agent_program: str = AGENT_PROGRAM
    connect_deadline_seconds: float = 5.0
    login_deadline_seconds: float = 15.0
    threads: int = 64
