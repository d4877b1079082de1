"""Numbers about the service itself, for those who watch over it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from nucleus.mirror.columns import placeholders
from nucleus.mirror.computesets import late_sets, nodes_without_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session


def oldest_poll_seconds(session: Session, now: datetime) -> float | None:
    """Age of the oldest newest answer of all sources; None when one of those that matter has never answered."""
    row = session.row(
        "SELECT MIN(observed), SUM(observed IS NULL) FROM source WHERE name NOT IN ('storagemap', 'image')"
    )
    if row is None or row[0] is None or row[1]:
        return None
    age: float = (now - row[0]).total_seconds()
    return age


def sources(session: Session) -> list[tuple[Any, ...]]:
    """(name, observed, rows, failures, seconds, last error) of each command that the poller runs."""
    return session.rows(
        "SELECT name, observed, row_count, failures, duration_seconds, last_error FROM source ORDER BY name"
    )


def machines_of_hosts(
    session: Session, hosts: Sequence[str]
) -> list[tuple[str, str, str, str | None, int | None]]:
    """(host, cluster, name, state, living computeset) of every machine that these hosts have."""
    return session.rows(
        "SELECT n.physical_host, c.name, n.name, n.state, s.computeset_id FROM node n"
        " JOIN cluster c ON c.id = n.cluster_id LEFT JOIN computeset_node s ON s.node_id = n.id AND s.active = 1"
        f" WHERE n.physical_host IN ({placeholders(hosts)}) AND n.gone_at IS NULL ORDER BY c.name, n.name",
        list(hosts),
    )


def gauges(session: Session, now: datetime) -> dict[str, dict[tuple[str, ...], float]]:
    """Gauge → labels → value."""
    sources = session.rows("SELECT name, observed, failures, duration_seconds FROM source ORDER BY name")
    syncing = session.row(
        "SELECT COUNT(*) FROM node WHERE image_state IN ('NAS->VM', 'NAS<-VM') AND gone_at IS NULL"
    ) or (0,)
    return {
        "operations": {
            (state,): float(count)
            for state, count in session.rows("SELECT state, COUNT(*) FROM operation GROUP BY state")
        },
        "computesets": {
            (state,): float(count)
            for state, count in session.rows("SELECT state, COUNT(*) FROM computeset GROUP BY state")
        },
        "images_syncing": {(): float(syncing[0])},
        "alarms": {
            ("vm-on-without-job",): float(len(nodes_without_set(session))),
            ("image-sync-timeout",): float(len(late_sets(session))),
        },
        "poll_age_seconds": {
            (name,): (now - observed).total_seconds()
            for name, observed, _, _ in sources
            if observed is not None
        },
        "poll_failures": {(name,): float(failures) for name, _, failures, _ in sources},
        "poll_seconds": {(name,): float(seconds) for name, _, _, seconds in sources},
    }
