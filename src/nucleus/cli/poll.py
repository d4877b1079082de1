"""`nucleus poll`: one complete poll, for a look at what the site answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.backends.executor import make_executor
from nucleus.backends.rocks import LIBRARY, Rocks
from nucleus.cli.administration import database_of
from nucleus.mirror.observations import read_sources
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from rocks.core.errors import BusyError

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Poll, and print how each command went; 1 when one of them failed. BusyError while a poller runs."""
    database = database_of(configuration)
    guard = Guard(database, "poller", "nucleus poll")
    if not guard.take():
        raise BusyError("another poller is at work; stop `nucleus serve` to poll by hand")
    try:
        rocks = Rocks(make_executor(configuration.executor), configuration.poll.command_seconds)
        poller = Poller(configuration, rocks, guard)
        poller.poll()
        poller.poll([LIBRARY])
    finally:
        guard.release()
    pool = Pool(database)
    with pool.transaction() as session:
        sources = read_sources(session)
    for one in sources:
        print(
            f"{one.name:<11} {one.row_count:>7} rows {one.duration_seconds:8.2f} s  {one.last_error or ''}".rstrip()
        )
    pool.close()
    return 1 if any(one.failures for one in sources) else 0
