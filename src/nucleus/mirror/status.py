"""Numbers about the service itself, for those who watch over it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from nucleus.mirror.columns import oldest_ulid
from nucleus.mirror.hosts import unknown_machines
from nucleus.mirror.observations import SCHEDULER, read_sources
from nucleus.mirror.pool import lock_name
from nucleus.parts import installed
from rocks.core.names import counted

if TYPE_CHECKING:
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Session
    from nucleus.parts import Alarm


def oldest_poll_seconds(session: Session, now: datetime) -> float | None:
    """Age of the oldest newest answer of the poller's sources; None when one that matters has never answered."""
    row = session.row(
        "SELECT MIN(observed), SUM(observed IS NULL) FROM source WHERE name NOT IN ('storagemap', 'image', %s)",
        (SCHEDULER,),
    )
    if row is None or row[0] is None or row[1]:
        return None
    age: float = (now - row[0]).total_seconds()
    return age


def loops() -> list[str]:
    """What the service runs of which each has a `Guard` of its name while it is at work."""
    return ["poller", *(name for name, part in installed().items() if part.loop)]


def idle_parts(session: Session) -> list[str]:
    """The loops that no process does: the server frees the lock of one that ends, however it does."""
    return [
        name
        for name in loops()
        if session.value("SELECT IS_FREE_LOCK(%s)", (lock_name(session.settings, name),))
    ]


def alarms(session: Session) -> list[Alarm]:
    """The alarms of the parts."""
    return [one for part in installed().values() for one in part.alarms(session)]


def alarm_lines(session: Session, configuration: Configuration) -> list[str]:
    """What needs an operator: machines whose hosts give no state of them, and the alarms of the parts."""
    unknown = [
        f"no state is known of {counted(count, 'machine')} on {host}: rocks list site"
        for host, count in unknown_machines(session)
    ]
    return unknown + [line for one in alarms(session) if one.number for line in one.lines(configuration)]


def gauges_of_parts(session: Session) -> dict[str, dict[tuple[str, ...], float]]:
    """Gauge → labels → value, of those that parts have."""
    return {
        name: dict(values) for part in installed().values() for name, values in part.gauges(session).items()
    }


def gauges(session: Session, now: datetime) -> dict[str, dict[tuple[str, ...], float]]:
    """Gauge → labels → value."""
    sources = read_sources(session)
    syncing = "SELECT COUNT(*) FROM node WHERE image_state IN ('NAS->VM', 'NAS<-VM') AND gone_at IS NULL"
    return {
        "operations": count_by_state(session, "operation"),
        "operation_seconds": _lately(session),
        "operation_errors": _errors(session),
        "images_syncing": {(): float(session.value(syncing))},
        "alarms": {
            ("machine-without-state",): float(sum(count for _, count in unknown_machines(session))),
            ("part-not-running",): float(len(idle_parts(session))),
            **{(one.kind,): float(one.number) for one in alarms(session) if one.kind},
        },
        "poll_age_seconds": {
            (one.name,): (now - one.observed).total_seconds() for one in sources if one.observed is not None
        },
        "poll_failures": {(one.name,): float(one.failures) for one in sources},
        "poll_seconds": {(one.name,): one.duration_seconds for one in sources},
        **gauges_of_parts(session),
    }


def count_by_state(session: Session, table: str) -> dict[tuple[str, ...], float]:
    """(state,) → how many rows of the table have it."""
    rows = session.rows(f"SELECT state, COUNT(*) FROM {table} GROUP BY state")
    return {(state,): float(count) for state, count in rows}


def _lately(session: Session) -> dict[tuple[str, ...], float]:
    """Kind → mean seconds from begin to end of the operations that were asked for within an hour."""
    rows = session.rows(
        "SELECT kind, AVG(TIMESTAMPDIFF(MICROSECOND, IFNULL(started, created), ended)) / 1e6 FROM operation"
        " WHERE id > %s AND ended IS NOT NULL AND state <> 'cancelled' GROUP BY kind",
        (oldest_ulid(3600),),
    )
    return {(kind,): float(seconds) for kind, seconds in rows}


def _errors(session: Session) -> dict[tuple[str, ...], float]:
    """(kind, family of the error) → how many operations that were asked for within an hour have failed, or try again.

    `host`: a host, or the executor, did not answer; `tool`: `rocks` failed.
    """
    rows = session.rows(
        "SELECT kind, JSON_VALUE(error, '$.code'), COUNT(*) FROM operation"
        " WHERE id > %s AND error IS NOT NULL AND state <> 'cancelled' GROUP BY 1, 2",
        (oldest_ulid(3600),),
    )
    return {(kind, family): float(count) for kind, family, count in rows}
