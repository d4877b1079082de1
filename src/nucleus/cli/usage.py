"""`nucleus usage`: what computesets that have ended were charged, for the report of a site."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nucleus.cli.administration import print_table, session_of
from nucleus.mirror import status
from nucleus.records import SYSTEM
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from nucleus.configuration import Configuration

_KEYS = (*status.Charge._fields, "node_hours")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The time, and how it is printed."""
    for name, line in (("from", "ended then or later"), ("to", "ended earlier")):
        parser.add_argument(
            f"--{name}",
            dest="begin" if name == "from" else "end",
            type=_moment,
            metavar="TIME",
            help=f"only of computesets that {line}: a date, or a date and a time, in UTC",
        )
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="table")


def run(given: argparse.Namespace, configuration: Configuration) -> int:
    """Print a row for each allocation, project, user and cluster. UserError for a time that ends before it begins."""
    if given.begin is not None and given.end is not None and given.end <= given.begin:
        raise UserError("the time ends before it begins; choose a later --to")
    with session_of(configuration) as session:
        found = status.charges(session, SYSTEM, given.begin, given.end)
    rows = [(*one, f"{one.charged_seconds / 3600:.2f}") for one in found]
    if given.format == "json":
        print(json.dumps([{**one._asdict(), "node_hours": one.charged_seconds / 3600} for one in found]))
    elif given.format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([_KEYS, *rows])
    else:
        print_table([key.upper().replace("_", " ") for key in _KEYS], rows)
    return 0


def _moment(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give a date such as 2026-12-01") from None
