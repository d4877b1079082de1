"""Requests and commands to many physical hosts at once; results in the order of their arrival.

A host that fails, hangs or sends garbage does not affect the others: its result is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from rocks.core import dry_run
from rocks.core.errors import BugError, HostError, RocksError
from rocks.fleet.connection import Connection, DownError, FleetSettings, HostAddress, NoAddressError
from rocks.fleet.local import LocalConnection
from rocks.fleet.openssh import Masters, ReusedConnection
from rocks.fleet.run_parallel import run_parallel
from rocks.fleet.session import Session
from rocks.fleet.wire.calls import reply_deadline_seconds
from rocks.fleet.wire.codec import Reply, Request

if TYPE_CHECKING:
    from rocks.fleet.known_hosts import HostKey

__all__ = ["CommandResult", "Fleet", "FleetSettings", "HostAddress"]

_BANNER_DEADLINE_SECONDS = 2.0
RUN_SCRIPT = """
umask 077
file=$(mktemp) && cat >"$file" && exec 3<"$file" && rm -f "$file" && exec bash /dev/fd/3 </dev/null
"""
"""Runs the script that it reads, whole before it begins: none of its commands reads the rest of it.

The file has no name any more then: a script that is killed leaves nothing.
"""

_MARGIN_SECONDS = 5.0

Result = TypeVar("Result")
CommandState = Literal["done", "down", "timeout", "error"]


class CommandResult(NamedTuple):
    """The result of a command on a host.

    `done`: it ran to its end, see `exit_status`. `down`: no SSH server answered within 2 s. `timeout`: it was killed
    at the timeout. `error`: it could not be run, see `message`.
    """

    host: str
    exit_status: int | None
    output: str
    error_output: str
    state: CommandState
    message: str


class Fleet:
    """The hosts of a command. A connection is opened at its first use and stays open until `close`."""

    def __init__(
        self,
        addresses: Iterable[HostAddress],
        settings: FleetSettings | None = None,
        before_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        """`before_waiting` is called each time before the caller waits for a host."""
        self._before_waiting = before_waiting
        self._settings = settings or FleetSettings()
        self._addresses = {address.name: address for address in addresses}
        self._lock = threading.Lock()
        self._private_key: Any = None
        self._known: dict[str, tuple[HostKey, ...]] | None = None
        self._masters = Masters(self._settings)
        self._sessions = {
            name: Session(address, self._settings, partial(self._connect, address, self._settings))
            for name, address in self._addresses.items()
        }

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self, names: Iterable[str]) -> None:
        """Begin to connect to these hosts and return at once; `ask_each` then uses the connections."""
        jobs = {name: self._sessions[name].warm_up for name in names if name in self._sessions}
        # the results are not read: the threads go on, and `ask_each` finds their results in the sessions
        run_parallel(jobs, threads=self._settings.threads, deadline_seconds=dict.fromkeys(jobs))

    @property
    def names(self) -> frozenset[str]:
        """The hosts of the fleet."""
        return frozenset(self._addresses)

    def ask_each(
        self, requests: Mapping[str, Request[Reply]], limit_seconds: float | None = None
    ) -> Iterator[tuple[str, Reply | RocksError]]:
        """Send each named host its request, all at once; yield (name, reply or error) as the answers arrive.

        A reply always has the type that its request declares. A name outside the fleet yields HostError, first.
        The requests start before the first result is taken. Each host yields within the connect and login
        deadlines plus its call's own deadline, or within `limit_seconds` in total.

            answers = dict(fleet.ask_each(dict.fromkeys(hosts, NetworkRequest())))  # host → NetworkFacts | RocksError
        """
        jobs = {
            name: partial(self._sessions[name].ask, request)
            for name, request in requests.items()
            if name in self._sessions
        }
        answers = run_parallel(
            jobs,
            threads=self._settings.threads,
            deadline_seconds={
                name: limit_seconds or self._opening_seconds() + reply_deadline_seconds(requests[name])
                for name in jobs
            },
        )
        unknown = ((name, _unknown(name)) for name in requests if name not in jobs)
        return chain(unknown, self._waiting_for(answers))

    def run_commands(
        self,
        command: str,
        hosts: Iterable[str],
        timeout_seconds: float,
        delay_seconds: float = 0.0,
        threads: int = 0,
    ) -> Iterator[CommandResult]:
        """Run a command line of the user with bash on each host; yield the results as they arrive.

        `timeout_seconds` 0 waits without limit; `threads` 0 or less means all hosts at once; `delay_seconds` pass
        between two starts.
        """
        jobs = {name: partial(self._run, name, command, timeout_seconds or None, b"") for name in hosts}
        yield from self._run_jobs(jobs, timeout_seconds, delay_seconds, threads)

    def run_scripts(
        self, scripts: Mapping[str, str], timeout_seconds: float, threads: int = 0
    ) -> Iterator[CommandResult]:
        """As `run_commands`, with a bash script for each host.

        Its text is on no command line: it may have secrets, and be long.
        """
        jobs = {
            name: partial(self._run, name, RUN_SCRIPT, timeout_seconds or None, script.encode())
            for name, script in scripts.items()
        }
        yield from self._run_jobs(jobs, timeout_seconds, 0.0, threads)

    def _run_jobs(
        self,
        jobs: Mapping[str, Callable[[], CommandResult]],
        timeout_seconds: float,
        delay_seconds: float,
        threads: int,
    ) -> Iterator[CommandResult]:
        limit_seconds = self._opening_seconds() + timeout_seconds if timeout_seconds else None
        results = run_parallel(
            jobs,
            threads=threads,
            deadline_seconds=dict.fromkeys(jobs, limit_seconds),
            delay_seconds=delay_seconds,
        )
        for name, result in self._waiting_for(results):
            yield result if isinstance(result, CommandResult) else _failed(name, result)

    def _waiting_for(self, results: Iterator[Result]) -> Iterator[Result]:
        while True:
            self._before_waiting()
            try:
                result = next(results)
            except StopIteration:
                return
            yield result

    def close(self) -> None:
        """Close all connections; programs on the hosts run to their end."""
        for session in self._sessions.values():
            session.close()

    def _opening_seconds(self) -> float:
        settings = self._settings
        return settings.connect_deadline_seconds + settings.login_deadline_seconds + _MARGIN_SECONDS

    def _run(
        self, name: str, command: str, timeout_seconds: float | None, standard_input: bytes
    ) -> CommandResult:
        text = standard_input.decode() or command
        lines = text.count("\n") + 1
        if dry_run.would(name, f"run {text}" if lines == 1 else f"run a script of {lines} lines"):
            return CommandResult(name, 0, "", "", "done", "")
        settings = self._settings._replace(connect_deadline_seconds=_BANNER_DEADLINE_SECONDS)
        if name not in self._addresses:
            raise BugError(f"host {name} is not in this fleet; please report this")
        connection = self._connect(self._addresses[name], settings)
        try:
            end = connection.run(command, timeout_seconds, standard_input)
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
        return ReusedConnection(host, self._masters, partial(self._log_in, host, settings))

    def _log_in(self, host: HostAddress, settings: FleetSettings) -> Connection:
        # paramiko takes 0.1 s to import; commands on this machine, or through a master, do not need it
        from rocks.fleet.known_hosts import read_known_hosts
        from rocks.fleet.paramiko_connection import SshConnection, load_private_key

        with self._lock:  # the key of this machine and those of the hosts are read once
            if self._private_key is None:
                self._private_key = load_private_key(settings.key_file, host.name)
            if self._known is None:
                self._known = read_known_hosts(settings.known_hosts_file)
        return SshConnection(host, settings, self._private_key, self._known.get(host.name, ()))


def _unknown(name: str) -> HostError:
    error = HostError(f"{name} is not in the cluster database any more, so it cannot be asked")
    error.nothing_done = True
    return error


def _failed(name: str, error: RocksError) -> CommandResult:
    state: CommandState = "down" if isinstance(error, (DownError, NoAddressError)) else "error"
    return CommandResult(name, None, "", "", state, str(error))
