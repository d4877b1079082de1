"""Run a command line of the operator: on many hosts at once, or on this machine once for each host."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.process import run_interactively
from rocks.fleet.fleet import CommandResult
from rocks.inventory.host_requests import open_fleet
from rocks.inventory.node_records import find_selector
from rocks.inventory.selectors import is_rack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rocks.database.connection import Database


__all__ = ["LONGEST_SECONDS", "CommandResult", "Limits", "run_on_hosts"]

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
