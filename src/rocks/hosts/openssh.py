"""Command lines of OpenSSH's own client for what needs a terminal or a tunnel, under our known hosts."""

from __future__ import annotations

from rocks.hosts.settings import FleetSettings, HostAddress


def ssh_arguments(host: HostAddress, settings: FleetSettings, options: tuple[str, ...] = ()) -> list[str]:
    """`ssh` to the host with our key, without asking anything; append the remote command's words.

    `options` are put before the destination, for example `("-t",)` or `("-L", "5901:127.0.0.1:5900")`.
    """
    ours = ("-i", settings.key_file, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes")
    return [*_known(host, settings), *ours, *options, "--", _destination(host, settings)]


def ssh_arguments_of_operator(host: HostAddress, settings: FleetSettings) -> list[str]:
    """`ssh` to the host by whatever lets the operator in: a password at the terminal, an agent, a key."""
    return [*_known(host, settings), "--", _destination(host, settings)]


def _known(host: HostAddress, settings: FleetSettings) -> list[str]:
    wait_seconds = max(1, round(settings.connect_deadline_seconds))
    options = {
        "UserKnownHostsFile": settings.known_hosts_file,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": host.name,
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(wait_seconds),
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-p", str(host.port), *words]


def _destination(host: HostAddress, settings: FleetSettings) -> str:
    return f"{settings.user}@{host.address}"
