"""Requests, command lines and files for many hosts at once."""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import wait_seconds
from rocks.core.errors import BusyError, HostError, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.core.process import run_interactively
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.connection import CannotAskError, FleetSettings
from rocks.fleet.fleet import CommandResult as CommandResult
from rocks.fleet.fleet import Fleet
from rocks.fleet.host_files import DEADLINE_SECONDS, read_files, replace_files
from rocks.fleet.run_parallel import run_parallel
from rocks.fleet.wire.errors import as_exception
from rocks.fleet.wire.requests import OperationOutcome
from rocks.inventory.address_records import host_addresses
from rocks.inventory.host_records import find_local_host
from rocks.inventory.hosts import find_selector
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.inventory.selectors import is_rack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.connection import HostAddress
    from rocks.fleet.host_files import FileChange
    from rocks.fleet.wire.codec import Reply, Request

    Progress = Callable[[int, int, str], None]
    """Called with the number of hosts that have answered, the number of hosts, and the last one."""
    Plan = Callable[[str, Mapping[str, bytes]], list[FileChange]]
    """Name of a host and what it has of the files → the changes. RocksError when that host has to stay."""


def open_fleet(database: Database, names: Sequence[str]) -> Fleet:
    """The fleet of the named hosts, to be used in a `with`; nothing is connected yet.

    While it waits for hosts no transaction is open, unless its caller has uncommitted changes. Names that are not in
    the database are left out. A host whose `ssh_port` is not a port fails when it is asked.
    """
    return Fleet(host_addresses(database, names), FleetSettings(), database.end_reading)


def ask_each(
    database: Database, requests: Mapping[str, Request[Reply]], limit_seconds: float | None = None
) -> Iterator[tuple[str, Reply | RocksError]]:
    """Send each host its request, all at once; yield (host, reply or error) as the replies arrive.

    HostError for a host that is not in the database. `limit_seconds` bounds the wait for each host; with None the
    fleet's own deadlines do.
    """
    with open_fleet(database, list(requests)) as fleet:
        yield from fleet.ask_each(requests, limit_seconds)


def is_silent(answer: object) -> bool:
    """Whether a host gives no answer at all, so that it may be off. One that answers with an error is not silent."""
    return isinstance(answer, HostError) and not isinstance(answer, AnsweringError)


def may_be_off(answer: object) -> bool:
    """Whether the host is silent, or this machine cannot ask it. No message proposes force for a host that answers."""
    return is_silent(answer) or isinstance(answer, CannotAskError)


def error_of(outcome: OperationOutcome | RocksError) -> RocksError | None:
    """Why an operation failed; None when it succeeded."""
    if isinstance(outcome, RocksError):
        return outcome
    return None if outcome.error is None else as_exception(outcome.error)


def notes_of(outcome: OperationOutcome | RocksError) -> tuple[str, ...]:
    """The notes of an operation that succeeded. The error of its host otherwise."""
    if isinstance(outcome, RocksError):
        raise outcome
    if outcome.error is not None:
        raise as_exception(outcome.error)
    return outcome.notes


# Run a command line of the operator: on many hosts at once, or on this machine once for each host.

LONGEST_SECONDS = 1_000_000
"""The longest wait, 11 days: poll(2) accepts at most 24 days in its milliseconds."""


class Limits(NamedTuple):
    """Seconds for each host (0: no limit), seconds between two starts, number of concurrent hosts."""

    timeout_seconds: int = 30
    delay_seconds: int = 0
    threads: int = 128


def check_no_selector(database: Database, command: str, program: str) -> None:
    """UserError for a command, given without hosts, that is the name of some: the command was forgotten.

    It would run on all hosts.
    """
    found = ("a rack", command) if is_rack(command) else find_selector(database, command)
    if found is not None:
        kind, selector = found
        raise UserError(
            f'must supply a command: "{printable(command)}" is the name of {kind}; '
            f'rocks {program} {selector} command="..." runs one there'
        )


def run_on_hosts(
    database: Database, hosts: Sequence[str], command: str, limits: Limits
) -> Iterator[CommandResult]:
    """Run the command in a shell on each host and yield its results as they arrive.

    UserError for a command that is not valid text. The transaction ends before the first connection.
    """
    if "\0" in command or not _is_text(command):
        raise UserError(f'the command "{printable(command)}" is not valid text: give it in UTF-8')
    if not hosts:
        return
    with open_fleet(database, hosts) as fleet:
        database.commit()
        yield from fleet.run_commands(
            command,
            hosts,
            timeout_seconds=limits.timeout_seconds,
            delay_seconds=limits.delay_seconds,
            threads=limits.threads,
        )


def _is_text(command: str) -> bool:
    try:
        return bool(command.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def text_for(host: str, command: str) -> str:
    """The command line for a host: `%` becomes its name, `%%` a single `%`."""
    return re.sub("%%|%", lambda found: "%" if found[0] == "%%" else host, command)


def run_for_each(
    database: Database, hosts: Sequence[str], text_of: Callable[[str], str]
) -> Iterator[tuple[str, int]]:
    """Run the command line of each host with bash, on the terminal; yield (host, exit status).

    A status is negative for a command that a signal ended. The transaction ends before the first command.
    """
    lines = {host: text_of(host) for host in hosts}
    for line in lines.values():
        if "\0" in line:
            raise UserError(f'the command "{printable(line)}" is not valid text')
    database.commit()
    for host, line in lines.items():
        sys.stdout.flush()
        if dry_run.would(dry_run.HERE, f"run {printable(line)}"):
            yield host, 0
            continue
        yield host, run_interactively(["bash", "-c", line])


# Write files on hosts from the database: names, accounts of people, secret attributes. All hosts are reached at once.


_ATTEMPTS = 3
_PAUSE_SECONDS = 0.5


def sync_files(
    database: Database,
    names: Sequence[str],
    paths: Sequence[str],
    plan: Plan,
    locks: Sequence[str] = (),
    *,
    with_this_machine: bool = False,
) -> Iterator[tuple[str, bool | RocksError]]:
    """Have the files of each host as `plan` says; yields (host, whether it changed, or the error) as hosts end.

    This machine is left out, unless its files are asked for. StateError for virtual machines, whose files are their
    owners'. A file that changes between reading and writing is read again. The transaction ends before the first
    connection.
    """
    chosen = FleetSettings()
    local = "" if with_this_machine else (find_local_host(database) or "").lower()
    machines = {name.lower() for name in which_are_vms(database, names)}
    physical = [name for name in names if name.lower() not in machines | {local}]
    hosts = {host.name: host for host in host_addresses(database, physical)}
    database.end_reading()
    for name in names:
        if name.lower() in machines:
            yield (
                name,
                StateError(f"{name} is a virtual machine, whose files are its owner's; name physical hosts"),
            )
    jobs = {name: partial(_sync, host, chosen, paths, plan, locks) for name, host in hosts.items()}
    deadlines = dict.fromkeys(jobs, 2 * _ATTEMPTS * (DEADLINE_SECONDS + _PAUSE_SECONDS))
    yield from run_parallel(jobs, threads=chosen.threads, deadline_seconds=deadlines)


def _sync(
    host: HostAddress, settings: FleetSettings, paths: Sequence[str], plan: Plan, locks: Sequence[str]
) -> bool:
    for attempt in range(_ATTEMPTS):
        found = read_files(host, settings, paths)
        changes = plan(host.name, found)
        if not changes:
            return False
        try:
            replace_files(host, settings, found, changes, locks)
        except BusyError:
            if attempt == _ATTEMPTS - 1:
                raise
            wait_seconds(_PAUSE_SECONDS)
        else:
            break
    return True
