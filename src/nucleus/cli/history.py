"""`nucleus history` and `audit`."""

from __future__ import annotations

import argparse
import zlib
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleus.cli.administration import (
    Action,
    declare,
    perform,
    print_table,
)
from nucleus.mirror import audit, operations
from nucleus.mirror.history import sizes
from rocks.core.errors import IncoherentError, UserError
from rocks.core.names import counted

if TYPE_CHECKING:
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of the command that the parser is of."""
    command = parser.prog.rpartition(" ")[2]
    if command == "history":
        parser.set_defaults(act=_print_history)
    else:
        declare(parser, _COMMANDS[command])


def run(given: argparse.Namespace, configuration: Configuration) -> int:
    """Do the action."""
    given.history = configuration.history
    return perform(given, configuration)


def _list_audit(given: Any, session: Session) -> None:
    if given.last < 1:
        raise UserError(f"--last={given.last}: at least one row is needed, as in --last=50")
    newest = audit.newest(session, min(given.last, 100_000))
    afters = [row.entry.after for row in newest if row.entry.after]
    states = {name: f"{name} {state}" for name, state in operations.states_of(session, afters).items()}
    rows = [
        (row.seq, row.at.isoformat(" ", "seconds"), row.entry.actor, row.entry.source_ip, row.entry.action,
         row.entry.target, row.entry.outcome, states.get(row.entry.after or ""))
        for row in newest
    ]  # fmt: skip
    print_table(("ROW", "TIME", "ACTOR", "FROM", "ACTION", "TARGET", "OUTCOME", "OPERATION"), rows)


def _verify_audit(given: Any, session: Session) -> None:
    folder = Path(given.history.folder)
    try:
        found = list(islice(audit.faults(audit.whole_chain(session, folder)), 5))
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise IncoherentError(f"a file of the audit log in {folder} cannot be read: {error}") from None
    if found:
        raise IncoherentError("; ".join(found))
    last = audit.newest(session, 1)
    print(
        f"the chain is whole to row {last[0].seq}, hash {last[0].hash.hex()}" if last else "the log is empty"
    )


def _print_history(given: Any, session: Session) -> None:
    """Print what the tables have, and how old it may become."""
    rows = [
        (
            one.table,
            one.rows,
            f"{one.megabytes:.1f}",
            one.oldest.isoformat(" ", "seconds") if one.oldest else None,
        )
        for one in sizes(session)
    ]
    print_table(("TABLE", "ROWS", "MB", "OLDEST"), rows)
    history = given.history
    files = list(Path(history.folder).glob("audit-*.json.gz"))
    print(
        f"ended operations and rows of the audit log are here for {history.days} days ([history] days of the settings);"
        f" older rows of the log are in {counted(len(files), 'file')} of {history.folder},"
        f" {sum(one.stat().st_size for one in files) / 2**20:.1f} MB"
    )


_COMMANDS = {
    "audit": {
        "list": Action(
            "print the newest rows; of an operation that was accepted, its identifier and its state now",
            _list_audit,
            (("--last", {"type": int, "default": 50, "metavar": "ROWS", "help": "how many (50)"}),),
        ),
        "verify": Action(
            "check that no row was changed, removed or put in between; note the number and hash that it prints: rows"
            " that are removed from the end are seen by them only",
            _verify_audit,
        ),
    },
}
