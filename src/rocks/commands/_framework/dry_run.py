"""Runs a command with `dry-run=yes`: nothing is changed, and a line is printed for each step on each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.arguments import parse_arguments, str2bool
from rocks.commands._framework.declarations import DRY_RUN, taken_by
from rocks.commands._framework.output import write_out
from rocks.commands._framework.run_command import asks_help, run_command
from rocks.core import dry_run
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.commands._framework.base import Command
    from rocks.core.errors import RocksError
    from rocks.database.dry import DryDatabase

NOTHING = "nothing would be changed"


def is_dry_run(command_class: type[Command], texts: Sequence[str]) -> bool:
    """Whether the texts after the command's name ask for a dry run that the framework does.

    False for one that the command does not declare, or whose value is invalid: the command then refuses it.
    """
    if asks_help(texts) or command_class.HandlesDryRun:
        return False
    given = parse_arguments(list(texts)).parameters.get(DRY_RUN)
    return str2bool(given) and any(it.name == DRY_RUN for it in taken_by(command_class))


def run_dry(command_class: type[Command], texts: Sequence[str], database: DryDatabase) -> int:
    """Run the command without a change, and print its steps as they come; returns its exit status.

    Its own output is dropped: it is written as if the steps were done. Errors are raised as in a real run, except that
    what depends on a step is not known, and is no error.
    """
    command = command_class(database)
    command.is_dry = True
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        write_out(one_line(line) + "\n")

    dry_run.begin(show)
    try:
        run_command(command, texts, stream=False)
        database.commit()
    except dry_run.UnknownReplyError as error:
        show(str(error))
    finally:
        dry_run.end()
        database.finish()
    rows = _rows(database)
    if rows:
        show(f"cluster database: would {rows}")
    if not lines and not command.exit_status:
        show(NOTHING)
    return command.exit_status


def show_unknown(failures: Mapping[str, RocksError]) -> dict[str, RocksError]:
    """Print what is not known of a host or machine; returns the other failures."""
    for name, error in failures.items():
        if isinstance(error, dry_run.UnknownReplyError):
            write_out(one_line(f"{name}: {error}") + "\n")
    return {
        name: error for name, error in failures.items() if not isinstance(error, dry_run.UnknownReplyError)
    }


def _rows(database: DryDatabase) -> str:
    """`insert vm_leases (1 row), update nodes (2 rows)`; empty without a change."""
    parts = (
        f"{verb} {table} ({count} row{'s' if count > 1 else ''})"
        for (verb, table), count in sorted(database.changed.items())
    )
    return ", ".join(parts)
