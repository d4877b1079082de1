"""`nucleus status`: how old what is known is, what is going on, and what needs an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.cli.administration import database_of, print_table
from nucleus.mirror import observations, status
from nucleus.mirror.computesets import late_sets, nodes_without_set
from nucleus.mirror.pool import Pool

if TYPE_CHECKING:
    import argparse

    from nucleus.configuration import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Print it; 1 when a source has failed, or something needs an operator."""
    pool = Pool(database_of(configuration))
    try:
        with pool.transaction() as session:
            now = observations.database_now(session)
            sources = observations.read_sources(session)
            values = status.gauges(session, now)
            nodes, late = nodes_without_set(session), late_sets(session)
    finally:
        pool.close()
    ages = {name: f"{age:.0f} s" for (name,), age in values["poll_age_seconds"].items()}
    rows = [
        (one.name, ages.get(one.name, "never"), one.row_count, one.failures, one.last_error)
        for one in sources
    ]
    print_table(("SOURCE", "AGE", "ROWS", "FAILURES", "ERROR"), rows)
    for what in ("operations", "computesets"):
        counts = ", ".join(f"{count:.0f} {state}" for (state,), count in values[what].items())
        print(f"{what}: {counts or 'none'}")
    for node in nodes:
        print(
            f"alarm: {node.target} is on, on {node.host}, and in no computeset;"
            " its owner may have it stopped: rocks stop host vm, by its name in rocks list cluster"
        )
    for number in late:
        print(
            f"alarm: the images of computeset {number} are not written back in time; rocks list host storagemap"
        )
    return 1 if nodes or late or any(one.failures for one in sources) else 0
