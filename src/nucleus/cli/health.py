"""`nucleus setup`, `poll`, `status` and `check`: the schema, one poll, what needs an operator, and what Slurm lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comet.client.hostlists import collect_hostlist
from nucleus.backends.executor import create_executor
from nucleus.backends.rocks import LIBRARY, SOURCES, Rocks
from nucleus.backends.slurm_settings import missing_settings, read_settings
from nucleus.cli.administration import database_of, print_table, session_of
from nucleus.mirror import identity, observations, status
from nucleus.mirror.computesets import late_charges, late_sets, nodes_without_job
from nucleus.mirror.hosts import nodes_without_host, unavailable_nodes, unknown_machines
from nucleus.mirror.migrate import set_up
from nucleus.mirror.observations import SourceState
from nucleus.mirror.pool import Guard
from nucleus.poller.poller import Poller, interval_seconds, late_seconds
from rocks.core.errors import BusyError, UserError
from rocks.core.names import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from datetime import datetime

    from nucleus.configuration import Configuration
    from nucleus.mirror.computesets import NodeWithoutJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `check` checks."""
    if parser.prog.endswith(" check"):
        parser.add_argument("what", choices=("slurm",), help="the configuration of Slurm")


def run(arguments: argparse.Namespace, configuration: Configuration) -> int:
    """Do it, and print how it went; 1 when a poll has failed or is late, or something needs an operator."""
    acts = {"setup": _set_up, "poll": _poll, "status": _print_status, "check": _check_slurm}
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
        nodes, late = nodes_without_job(session), late_sets(session)
        strays, alarms = nodes_without_host(session), status.alarms(session)
        idle, unknown = status.idle_parts(session), unknown_machines(session)
        uncharged, unavailable = late_charges(session), unavailable_nodes(session)
    late_polls = _print_polls(sources, now, configuration)
    if idle:
        what = "does not run" if len(idle) == len(status.loops()) else f"runs without {' and '.join(idle)}"
        print(f"alarm: the service {what}: systemctl status rocks-nucleus, journalctl -u rocks-nucleus")
    for what in ("operations", "computesets"):
        counts = ", ".join(f"{count:.0f} {state}" for (state,), count in values[what].items())
        print(f"{what}: {counts or 'none'}")
    for source in sources:
        if source.name == observations.SCHEDULER and source.failures:
            print(
                "alarm: Slurm does not answer; computesets that run go on, no other begins: run `scontrol ping`"
                f" ({source.last_error})"
            )
    for host, count in unknown:
        print(f"alarm: no state is known of {counted(count, 'machine')} on {host}: rocks list site")
    for node in nodes:
        _print_without_job(node)
    lines = [line for one in alarms for line in one.lines]
    print(*(f"alarm: {line}" for line in lines), sep="\n", end="\n" * bool(lines))
    for number in late:
        print(
            f"alarm: the images of computeset {number} are not written back in time; rocks list host storagemap"
        )
    _print_slurm(configuration.batch.partition, uncharged, strays, unavailable)
    found = (nodes, late, uncharged, strays, unavailable, lines, late_polls, idle, unknown)
    return int(any(found) or any(one.failures for one in sources))


def _print_without_job(node: NodeWithoutJob) -> None:
    where = (
        "in no computeset; its owner may have it stopped"
        if node.computeset is None
        else f"computeset {node.computeset} does not have that host"
    )
    move = f"move it back (rocks move host vm {node.rocks_name}), or " if node.is_running else ""
    print(
        f"alarm: {node.target} is on, on {node.host}, and {where}: {move}rocks stop host vm {node.rocks_name}"
    )


def _print_slurm(
    partition: str, uncharged: Sequence[int], strays: Sequence[str], unavailable: Sequence[tuple[str, str]]
) -> None:
    """Print what Slurm and computesets do not agree about."""
    if uncharged:
        print(
            "alarm: an hour after their end, Slurm's accounting has no end of the computesets"
            f" {', '.join(map(str, uncharged))}: sacctmgr show runawayjobs ends jobs that slurmctld has forgotten"
        )
    if strays:
        print(
            f"alarm: Slurm has nodes in the partition {partition} that are no hosts of the cluster,"
            f" and computesets leave them out: {collect_hostlist(strays)}; take them out of the partition,"
            " or rocks add host"
        )
    if unavailable:
        by_reason = {
            why: collect_hostlist([name for name, one in unavailable if one == why])
            for why in dict.fromkeys(why for _, why in unavailable)
        }
        print(
            f"alarm: Slurm gives no jobs to {', '.join(f'{names} ({why})' for why, names in by_reason.items())}:"
            " run `sinfo -R`; when a host is in order, `scontrol update nodename=HOST state=resume`"
        )


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


def _check_slurm(configuration: Configuration) -> int:
    """Print each missing setting; 1 when there is one. UserError on a site without Slurm."""
    batch = configuration.batch
    if batch.kind != "slurm":
        raise UserError(
            'computesets run on a list of hosts here; set kind = "slurm" in [batch] of the settings first'
        )
    with session_of(configuration) as session:
        allocations = [name for name, _ in identity.list_allocations(session)]
    grace_seconds = configuration.computesets.grace_seconds
    missing = missing_settings(read_settings(batch), batch, allocations, grace_seconds)
    for line in missing:
        print(f"missing: {line}")
    if not missing:
        print(
            f"Slurm has what computesets need; partition {batch.partition}, allocations: {len(allocations)}"
        )
    return 1 if missing else 0
