"""Numbers about the service itself, for those who watch over it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session


def oldest_poll_seconds(session: Session, now: datetime) -> float | None:
    """Age of the oldest newest answer of all sources; None when one of those that matter has never answered."""
    row = session.row("SELECT MIN(observed), SUM(observed IS NULL) FROM source WHERE name <> 'storagemap'")
    if row is None or row[0] is None or row[1]:
        return None
    age: float = (now - row[0]).total_seconds()
    return age


def gauges(session: Session, now: datetime) -> dict[str, dict[tuple[str, ...], float]]:
    """Gauge → labels → value."""
    sources = session.rows("SELECT name, observed, failures, duration_seconds FROM source ORDER BY name")
    syncing = session.row("SELECT COUNT(*) FROM node WHERE image_locked AND gone_at IS NULL") or (0,)
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
        "poll_age_seconds": {
            (name,): (now - observed).total_seconds()
            for name, observed, _, _ in sources
            if observed is not None
        },
        "poll_failures": {(name,): float(failures) for name, _, failures, _ in sources},
        "poll_seconds": {(name,): float(seconds) for name, _, _, seconds in sources},
    }
