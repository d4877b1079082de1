"""Many physical hosts at once: one question each, or one command for all; results as they come.

A host that fails, hangs or speaks garbage never stops the others: its result is an error, theirs are theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Literal, NamedTuple

from rocks.errors import BugError, RocksError
from rocks.hosts.connection import Connection, DownError
from rocks.hosts.known_hosts import HostKey, read_known_hosts
from rocks.hosts.local import LocalConnection
from rocks.hosts.run_parallel import run_parallel
from rocks.hosts.session import Session
from rocks.hosts.settings import FleetSettings, HostAddress
from rocks.wire.agent import reply_deadline_seconds
from rocks.wire.request import Reply, Request

__all__ = ["CommandResult", "Fleet", "FleetSettings", "HostAddress"]

_BANNER_DEADLINE_SECONDS = 2.0
_MARGIN_SECONDS = 5.0

CommandState = Literal["done", "down", "timeout", "error"]


class CommandResult(NamedTuple):
    """How a command ended on a host.

    `done`: it ran to its end, see `exit_status`. `down`: nothing that speaks SSH answered within 2 s.
    `timeout`: it was killed when its time was over. `error`: it could not be run, see `message`.
    """

    host: str
    exit_status: int | None
    output: str
    error_output: str
    state: CommandState
    message: str


class Fleet:
    """The hosts a command speaks to; a connection is opened at first need, kept, and closed by `close`."""

    def __init__(self, addresses: Iterable[HostAddress], settings: FleetSettings | None = None) -> None:
        self._settings = settings or FleetSettings()
        self._addresses = {address.name: address for address in addresses}
        self._keyring = _Keyring(self._settings)
        self._sessions = {
            name: Session(address, self._settings, partial(self._connect, address, self._settings))
            for name, address in self._addresses.items()
        }

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def warm_up(self, names: Iterable[str]) -> None:
        """Begin to connect to these hosts and return at once; `call` then finds what came of it."""
        jobs = {name: self._sessions[name].warm_up for name in names}
        # nobody listens: the threads go on, and `call` finds what they leave in the sessions
        run_parallel(jobs, threads=self._settings.threads, deadline_seconds=dict.fromkeys(jobs))

    @property
    def names(self) -> frozenset[str]:
        """The hosts of the fleet."""
        return frozenset(self._addresses)

    def call(
        self, requests: Mapping[str, Request[Reply]], limit_seconds: float | None = None
    ) -> Iterator[tuple[str, Reply | RocksError]]:
        """Ask each named host its request, all at once, and yield (name, reply or error) as the answers come.

        The asking begins before the first result is taken. Every host has an answer or an error within the
        connect and login deadlines and its call's own deadline, or within `limit_seconds` for all of it.
        """
        jobs = {name: partial(self._session(name).ask, request) for name, request in requests.items()}
        return run_parallel(
            jobs,
            threads=self._settings.threads,
            deadline_seconds={
                name: limit_seconds or self._opening_seconds() + reply_deadline_seconds(request)
                for name, request in requests.items()
            },
        )

    def run_commands(
        self,
        command: str,
        hosts: Iterable[str],
        timeout_seconds: float,
        delay_seconds: float = 0.0,
        threads: int = 0,
    ) -> Iterator[CommandResult]:
        """Run a command line of the user's own by bash on each host, and yield the results as they come.

        `timeout_seconds` 0 waits for ever; `threads` not positive means all hosts at once; `delay_seconds`
        pass between two starts.
        """
        jobs = {name: partial(self._run, name, command, timeout_seconds or None) for name in hosts}
        most = self._opening_seconds() + timeout_seconds if timeout_seconds else None
        for name, result in run_parallel(
            jobs, threads=threads, deadline_seconds=dict.fromkeys(jobs, most), delay_seconds=delay_seconds
        ):
            yield result if isinstance(result, CommandResult) else _failed(name, result)

    def close(self) -> None:
        """End all connections; what is under way on a host comes to its own end there."""
        for session in self._sessions.values():
            session.close()

    def _session(self, name: str) -> Session:
        session = self._sessions.get(name)
        if session is None:
            raise BugError(f"host {name} was asked something, but is not in this fleet")
        return session

    def _opening_seconds(self) -> float:
        settings = self._settings
        return settings.connect_deadline_seconds + settings.login_deadline_seconds + _MARGIN_SECONDS

    def _run(self, name: str, command: str, timeout_seconds: float | None) -> CommandResult:
        settings = self._settings._replace(connect_deadline_seconds=_BANNER_DEADLINE_SECONDS)
        connection = self._connect(self._session(name).address, settings)
        try:
            end = connection.run(command, timeout_seconds)
        finally:
            connection.close()
        message = f"{end.dropped_bytes} bytes of its output were dropped" if end.dropped_bytes else ""
        return CommandResult(
            name,
            end.exit_status,
            end.output.decode("utf-8", "replace"),
            end.error_output.decode("utf-8", "replace"),
            "timeout" if end.exit_status is None else "done",
            message,
        )

    def _connect(self, host: HostAddress, settings: FleetSettings) -> Connection:
        if host.is_local:
            return LocalConnection(host, settings)
        # paramiko takes 0.1 s to import: commands that stay on this machine do without
        from rocks.hosts.ssh import SshConnection

        return SshConnection(host, settings, self._keyring.private_key(), self._keyring.known_keys(host))


class _Keyring:
    """Our private key and the hosts' public ones, read once."""

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._private_key: Any = None
        self._known: dict[str, tuple[HostKey, ...]] | None = None

    def private_key(self) -> Any:
        from rocks.hosts.ssh import load_private_key

        with self._lock:
            if self._private_key is None:
                self._private_key = load_private_key(self._settings.key_file)
            return self._private_key

    def known_keys(self, host: HostAddress) -> tuple[HostKey, ...]:
        with self._lock:
            if self._known is None:
                self._known = read_known_hosts(self._settings.known_hosts_file)
            return self._known.get(host.name, ())


def _failed(name: str, error: RocksError) -> CommandResult:
    state: CommandState = "down" if isinstance(error, DownError) else "error"
    return CommandResult(name, None, "", "", state, str(error))
