"""OpenSSH's client: command lines for terminals and tunnels, and masters that outlive a command."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.clock import Deadline
from rocks.core.errors import RocksError
from rocks.core.process import start_in_background
from rocks.fleet.agent_line import AgentLine
from rocks.fleet.connection import CommandOutput, Connection, FleetSettings, HostAddress
from rocks.fleet.local import PipeStream

if TYPE_CHECKING:
    from collections.abc import Sequence


def ssh_arguments(host: HostAddress, settings: FleetSettings, options: tuple[str, ...]) -> list[str]:
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


# SSH connections that outlive a command: an OpenSSH master for each host, which later commands use.
#
# The first command logs in by the SSH library, whose errors are exact, and starts a master when it closes. Later
# commands start the agent through the master's socket: without key exchange, without login, and without importing the
# library. A master that does not answer is passed over, so it can only save time. Source: ssh_config(5), ControlMaster.


# ruff: noqa: PTH103, PTH116, PTH123 - pathlib would cost a listing of states its start-up time


IDLE_SECONDS = 600
"""A master ends when it was not used for so long."""

_LONGEST_PATH = 80
"""Bytes: the kernel takes 108 for a socket's name, and OpenSSH appends 17 while it makes the socket."""

_READY = b"rocks-channel\n"


class Masters:
    """The masters of a command's hosts. Safe for several threads."""

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: dict[str, list[str]] | None = None

    def open_agent(self, host: HostAddress) -> AgentLine | None:
        """Start an agent through the host's master; None when there is no master, or it does not answer in time."""
        with dry_run.reading():
            return self._open_agent(host)

    def _open_agent(self, host: HostAddress) -> AgentLine | None:
        path = self._path(host)
        if path is None or not _is_answered(path):
            return None
        options = ("-F", "none", "-S", path, "-o", "ControlMaster=no", "-o", "ProxyCommand=false")
        command = f"echo {_READY.decode().strip()}; exec {self._settings.agent_program} --serve"
        try:
            stream = _Channel([*ssh_arguments(host, self._settings, options), command])
        except RocksError:
            return None
        try:
            if stream.receive(Deadline(self._settings.connect_deadline_seconds)) == _READY:
                return AgentLine(host.name, stream)
        except OSError:  # TimeoutError as well: the host has died, and the master has not noticed yet
            pass
        stream.end()
        return None

    def start(self, host: HostAddress) -> None:
        """Start a master for the host in the background, unless one answers; an error leaves the host without.

        A dry run leaves no program behind, so it starts none.
        """
        if dry_run.is_on():
            return
        path = self._path(host)
        if path is None or _is_answered(path):
            return
        options = {
            "ControlMaster": "auto",  # of two that start at once, one becomes a client of the other and ends
            "ControlPersist": str(IDLE_SECONDS),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "2",
        }
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        line = ssh_arguments(host, self._settings, ("-F", "none", "-S", path, *flags))
        # of a host that does not let it in, or does not end `true`, no program waits for longer than a command does
        seconds = self._settings.connect_deadline_seconds + self._settings.login_deadline_seconds
        try:
            number = start_in_background(["timeout", "-s", "KILL", f"{seconds:g}", *line, "true"], os.devnull)
        except RocksError:
            return
        # a service would have a zombie for each master that it starts
        threading.Thread(target=_wait_for, args=(number,), daemon=True).start()

    def _path(self, host: HostAddress) -> str | None:
        """The socket of the host's master: another one for every address, known key and key of this machine.

        A master that was let in by a key that is no longer known is thus never used again.
        """
        folder, keys = self._settings.control_folder, self._known_keys().get(host.name)
        if not folder or not keys or not _is_private(folder):
            return None
        whole = (host.name, host.address, host.port, self._settings.user, _version_of(self._settings), keys)
        identity = repr(whole)
        path = f"{folder}/{hashlib.sha256(identity.encode()).hexdigest()[:24]}"
        return path if len(path) <= _LONGEST_PATH else None

    def _known_keys(self) -> dict[str, list[str]]:
        """Host name → its lines of the known hosts."""
        with self._lock:
            if self._keys is None:
                self._keys = {}
                for line in _lines(self._settings.known_hosts_file):
                    for name in line.split(" ", 1)[0].split(","):
                        self._keys.setdefault(name, []).append(line)
            return self._keys


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _version_of(settings: FleetSettings) -> str:
    """A text that changes when the key of this machine does."""
    try:
        status = os.stat(settings.key_file)
    except OSError:
        return ""
    return f"{settings.key_file} {status.st_ino} {status.st_mtime_ns}"


def _is_private(folder: str) -> bool:
    """Whether the folder, which is made when absent, is a folder of this user that no other user can enter."""
    try:
        if not dry_run.is_on():
            os.makedirs(folder, mode=0o700, exist_ok=True)
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _wait_for(number: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(number, 0)


class _Channel(PipeStream):
    """The streams of an agent through a master. `ssh` would stay for as long as the host does not end the agent."""

    def close(self) -> None:
        """As `Stream.close`: the host closes the agent's streams, as at the end of a connection of its own."""
        super().close()
        self.kill()


class ReusedConnection:
    """A connection that starts agents through the host's master where one answers, and by `log_in` otherwise."""

    def __init__(self, host: HostAddress, masters: Masters, log_in: Callable[[], Connection]) -> None:
        self._host = host
        self._masters = masters
        self._log_in = log_in
        self._own: Connection | None = None
        self._needs_master = False

    def open_agent(self) -> AgentLine:
        """As `Connection.open_agent`."""
        if self._own is None and (line := self._masters.open_agent(self._host)) is not None:
            return line
        line = self._ready().open_agent()
        self._needs_master = True
        return line

    def run(self, command: str, timeout_seconds: float | None, standard_input: bytes = b"") -> CommandOutput:
        """As `Connection.run`, by a connection of its own: the command's exit status is then exact."""
        return self._ready().run(command, timeout_seconds, standard_input)

    def close(self) -> None:
        """As `Connection.close`; the next command finds a master."""
        if self._own is not None:
            self._own.close()
        if self._needs_master:
            self._masters.start(self._host)

    def _ready(self) -> Connection:
        if self._own is None:
            self._own = self._log_in()
        return self._own
