"""`nucleus audit`"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nucleus.cli.administration import database_of, print_table
from nucleus.mirror import audit
from nucleus.mirror.pool import Pool
from rocks.core.errors import IncoherentError

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = below.add_parser("list", help="print the newest rows", description="Print the newest rows.")
    listed.add_argument("--last", type=int, default=50, metavar="ROWS", help="how many (50)")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    below.add_parser(
        "verify",
        help="check that no row was changed, removed or put in between",
        description="Check that no row was changed, removed or put in between. Note the number and hash that it prints:"
        " rows that are removed from the end are seen by them only.",
    )


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Print rows, or check the chain."""
    pool = Pool(database_of(configuration))
    try:
        if arguments.action == "verify":
            return _verify(pool)
        with pool.transaction() as session:
            rows = audit.newest(session, max(1, min(arguments.last, 100_000)))
    finally:
        pool.close()
    if arguments.json:
        for row in rows:
            print(json.dumps({"seq": row.seq, "at": row.at.isoformat(), **row.entry._asdict()}))
        return 0
    cells = [
        (row.seq, row.at.isoformat(" ", "seconds"), row.entry.actor, row.entry.source_ip, row.entry.action,
         row.entry.target, row.entry.outcome)
        for row in rows
    ]  # fmt: skip
    print_table(("ROW", "TIME", "ACTOR", "FROM", "ACTION", "TARGET", "OUTCOME"), cells)
    return 0


def _verify(pool: object) -> int:
    from nucleus.mirror.pool import Pool

    assert isinstance(pool, Pool)
    found = list(audit.faults(pool))
    if found:
        raise IncoherentError("; ".join(found[:5]))
    with pool.transaction() as session:
        last = audit.newest(session, 1)
    if last:
        print(f"the chain is whole to row {last[0].seq}, hash {last[0].hash.hex()}")
    else:
        print("the log is empty")
    return 0
