"""`nucleus setup`, `poll` and `status`: the schema, one poll, and what needs an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.backends.executor import create_executor
from nucleus.backends.rocks import LIBRARY, SOURCES, Rocks
from nucleus.cli.administration import database_of, print_table, session_of
from nucleus.mirror import observations, status
from nucleus.mirror.migrate import set_up
from nucleus.mirror.observations import SourceState
from nucleus.mirror.pool import Guard
from nucleus.poller.poller import Poller, interval_seconds, late_seconds
from rocks.core.errors import BusyError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from datetime import datetime

    from nucleus.configuration import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Do it, and print how it went; 1 when a poll has failed or is late, or something needs an operator."""
    acts = {"setup": _set_up, "poll": _poll, "status": _print_status}
    return acts[arguments.command](configuration)


def _set_up(configuration: Configuration) -> int:
    settings = configuration.database
    before, after = set_up(settings)
    what = "has version" if before == after else f"was brought from version {before} to version"
    print(
        f"schema {settings.name} at {settings.socket} {what} {after}; its user is {settings.user}@localhost"
    )
    return 0


def _poll(configuration: Configuration) -> int:
    """BusyError while a poller runs."""
    guard = Guard(database_of(configuration), "poller")
    if not guard.take():
        raise BusyError("another poller is at work; stop `nucleus serve` to poll by hand")
    try:
        rocks = Rocks(create_executor(configuration.executor), configuration.poll.command_seconds)
        poller = Poller(configuration, rocks, guard)
        poller.poll()
        poller.poll([LIBRARY])
    finally:
        guard.release()
    with session_of(configuration) as session:
        sources = [one for one in observations.read_sources(session) if one.name != observations.SCHEDULER]
    for one in sources:
        print(
            f"{one.name:<11} {one.row_count:>7} rows {one.duration_seconds:8.2f} s  {one.last_error or ''}".rstrip()
        )
    return 1 if any(one.failures for one in sources) else 0


def _print_status(configuration: Configuration) -> int:
    with session_of(configuration) as session:
        now = observations.database_now(session)
        sources = observations.read_sources(session)
        values = status.gauges(session, now)
        lines, of_parts = status.alarm_lines(session, configuration), status.gauges_of_parts(session)
        idle = status.idle_parts(session)
    late_polls = _print_polls(sources, now, configuration)
    if idle:
        what = "does not run" if len(idle) == len(status.loops()) else f"runs without {' and '.join(idle)}"
        print(f"alarm: the service {what}: systemctl status rocks-nucleus, journalctl -u rocks-nucleus")
    for what in ("operations", *of_parts):
        counts = ", ".join(f"{count:.0f} {state}" for (state,), count in values[what].items())
        print(f"{what}: {counts or 'none'}")
    print(*(f"alarm: {line}" for line in lines), sep="\n", end="\n" * bool(lines))
    return int(any((lines, late_polls, idle)) or any(one.failures for one in sources))


def _print_polls(sources: Sequence[SourceState], now: datetime, configuration: Configuration) -> bool:
    """Print when each command of the poller was last successful, and which are late; whether one is."""
    known = {one.name: one for one in sources}
    rows, late = [], []
    for source in (*SOURCES, LIBRARY):
        one = known.get(source.name, SourceState(source.name, None, 0, 0, None, 0.0))
        age = None if one.observed is None else (now - one.observed).total_seconds()
        is_late = age is None or age > late_seconds(source, configuration.poll)
        if is_late:
            since = "has never been successful" if age is None else f"was last successful {age:.0f} s ago"
            every = f"is due every {interval_seconds(source, configuration.poll):g} s"
            late.append(f"late: the poll {one.name} {since}, and {every}: rocks {' '.join(source.arguments)}")
        when = "never" if one.observed is None else f"{one.observed:%Y-%m-%d %H:%M:%S} UTC"
        age_text = "" if age is None else f"{age:.0f} s"
        state = "late" if is_late else "fresh"
        rows.append((one.name, when, age_text, state, one.row_count, one.failures, one.last_error))
    print_table(("POLL", "LAST SUCCESS", "AGE", "STATE", "ROWS", "FAILURES", "ERROR"), rows)
    print(*late, sep="\n", end="\n" * bool(late))
    return bool(late)
