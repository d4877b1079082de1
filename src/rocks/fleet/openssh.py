"""Command lines of OpenSSH's client, for terminals and tunnels, with the known hosts of this system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.fleet.settings import FleetSettings, HostAddress

if TYPE_CHECKING:
    from collections.abc import Sequence


def ssh_arguments(host: HostAddress, settings: FleetSettings, options: tuple[str, ...] = ()) -> list[str]:
    """`ssh` to the host with the key of this machine, without prompts; append the remote command and its arguments.

    `options` precede the destination, for example `("-t",)` or `("-L", "5901:127.0.0.1:5900")`.
    """
    own_key = ("-i", settings.key_file, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes")
    return [*_known(host, settings), *own_key, *options, "--", _destination(host, settings)]


def arguments_on(host: HostAddress, settings: FleetSettings, arguments: Sequence[str]) -> list[str]:
    """The command line that runs a program on the host, by a connection of its own unless that is this machine."""
    import shlex  # a start does without it

    if host.is_local:
        return list(arguments)
    return [*ssh_arguments(host, settings, ("-S", "none")), f"exec {shlex.join(arguments)}"]


def ssh_arguments_of_operator(host: HostAddress, settings: FleetSettings) -> list[str]:
    """`ssh` to the host with the operator's login: a password at the terminal, an SSH agent, a key."""
    return [*_known(host, settings), "--", _destination(host, settings)]


def _known(host: HostAddress, settings: FleetSettings) -> list[str]:
    host.check()
    wait_seconds = max(1, round(settings.connect_deadline_seconds))
    options = {
        "UserKnownHostsFile": settings.known_hosts_file,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": host.name,
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(wait_seconds),
    }
    arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-p", str(host.port), *arguments]


def _destination(host: HostAddress, settings: FleetSettings) -> str:
    return f"{settings.user}@{host.address}"
