"""Events: what changed, for those who watch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from nucleus.mirror.columns import columns_of, placeholders, visible
from nucleus.records import Event, NewEvent, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nucleus.mirror.pool import Session

EVENT_HOURS = 2
"""How long events are kept for clients that connect again."""

_COLUMNS = columns_of("event", Event._fields)


class Signal:
    """Wakes the threads of this process that wait for something new in the database; others look now and then."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.number = 0
        """How often it was given; what `wait` takes."""

    def give(self) -> None:
        """Wake all."""
        with self._condition:
            self.number += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until it was given more than `seen` times, or for so long; returns how often it was given."""
        with self._condition:
            self._condition.wait_for(lambda: self.number != seen, seconds)
            return self.number


NEWS = Signal()
"""Events were committed. Given after the commit."""

WORK = Signal()
"""Operations or computesets were committed that wait to be done."""


def append_events(session: Session, events: Iterable[NewEvent]) -> None:
    """Store events, at the end of the transaction: it is the only one that does so from here to its commit.

    Otherwise a later number could become visible before an earlier one, and a watcher would never see that.
    """
    rows = [(e.project_id, e.cluster_id, e.type, e.target[:160], e.old, e.new, e.operation) for e in events]
    if rows:
        session.row("SELECT name FROM lease WHERE name = 'events' FOR UPDATE")
        session.insert_many(
            "INSERT INTO event (project_id, cluster_id, type, target, old, new, operation) VALUES", rows
        )


def events_after(
    session: Session,
    scope: Scope,
    after: int,
    cluster_id: int | None = None,
    types: Sequence[str] = (),
) -> list[Event]:
    """At most 1,000 events with greater numbers that the asker may see, in their order. poll.* are everybody's."""
    condition, values = visible(scope, "project_id")
    sql = f"SELECT {_COLUMNS} FROM event WHERE id > %s AND ({condition} OR type IN ('poll.stale', 'poll.fresh'))"
    values = [after, *values]
    if cluster_id is not None:
        sql, values = f"{sql} AND cluster_id = %s", [*values, cluster_id]
    if types:
        sql, values = f"{sql} AND type IN ({placeholders(types)})", [*values, *types]
    return [Event(*row) for row in session.rows(f"{sql} ORDER BY id LIMIT 1000", values)]


def recent_events(session: Session, kind: str, target: str, minutes: int) -> list[str]:
    """The `new` values of the events of this type about the target, from the last `minutes`."""
    return session.column(
        "SELECT new FROM event WHERE at > UTC_TIMESTAMP(3) - INTERVAL %s MINUTE AND type = %s AND target = %s",
        (minutes, kind, target),
    )


def last_event(session: Session) -> int:
    """The greatest number so far; 0 without events."""
    return session.value("SELECT MAX(id) FROM event") or 0


def forget_old_events(session: Session) -> int:
    """Remove events older than `EVENT_HOURS`; how many."""
    return session.execute(
        f"DELETE FROM event WHERE at < UTC_TIMESTAMP(3) - INTERVAL {EVENT_HOURS} HOUR LIMIT 10000"
    )
