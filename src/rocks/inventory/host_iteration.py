"""Run a command line of the operator on this machine, once for each host."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.process import run_interactively

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rocks.database.connection import Database


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
