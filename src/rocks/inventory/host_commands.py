"""Run a command line of the operator on many hosts at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.fleet.fleet import CommandResult
from rocks.inventory.host_requests import open_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.database.connection import Database

__all__ = ["LONGEST_SECONDS", "CommandResult", "Limits", "run_on_hosts"]

LONGEST_SECONDS = 1_000_000
"""The longest wait, 11 days: poll(2) accepts at most 24 days in its milliseconds."""


class Limits(NamedTuple):
    """Seconds for each host (0: no limit), seconds between two starts, number of concurrent hosts."""

    timeout_seconds: int = 30
    delay_seconds: int = 0
    threads: int = 128


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
