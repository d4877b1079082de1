"""Removes what has ended more than `[history] days` ago from the database, once an hour.

The rows of computesets stay, since allocations are charged by them, but not what they had of each node; their clusters
stay, too. The limits of changes in a day bound how many there are. Events, stored answers, tickets, tokens and
reservations have ages of their own, which are in their modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import oldest_ulid

if TYPE_CHECKING:
    from datetime import datetime

    from nucleus.mirror.pool import Session

_AT_ONCE = 5000
SETS_AT_ONCE = 100
"""Computesets whose nodes are removed at once. Where fewer rows were removed, none is left."""

_DAY_SECONDS = 86_400


def forget_old(session: Session, days: int) -> int:
    """Remove operations and jobs of the list of hosts that ended, nodes of computesets that ended, nodes that were
    removed, and clusters that were removed and have no computeset, before that.

    Returns how many rows; `_AT_ONCE` of each kind at most, so that no transaction is long.
    """
    before = f"UTC_TIMESTAMP(3) - INTERVAL {int(days)} DAY"
    count = session.execute(
        f"DELETE FROM operation WHERE id < %s AND ended < {before} ORDER BY id LIMIT {_AT_ONCE}",
        (oldest_ulid(days * _DAY_SECONDS),),
    )
    ended = session.column(
        "SELECT DISTINCT x.computeset_id FROM computeset_node x JOIN computeset s ON s.id = x.computeset_id"
        f" WHERE x.active IS NULL AND s.ended_at < {before} LIMIT {SETS_AT_ONCE}"
    )
    count += session.delete("computeset_node", computeset_id=ended)
    # they have a state of each node, which nobody reads any more
    session.update("computeset", {"context": {}, "notes": {}}, id=ended)
    count += session.execute(  # a job is asked for by its name as long as its computeset has not ended
        f"DELETE FROM host_job WHERE state = 'ended' AND created < {before} AND name NOT IN"
        " (SELECT s.name FROM computeset s WHERE s.name IS NOT NULL AND s.ended_at IS NULL)"
        f" ORDER BY id LIMIT {_AT_ONCE}"
    )
    # found first: a DELETE would lock each row that it looks at
    gone = session.column(
        f"SELECT n.id FROM node n WHERE n.gone_at < {before}"
        " AND NOT EXISTS (SELECT 1 FROM computeset_node x WHERE x.node_id = n.id)"
        " AND NOT EXISTS (SELECT 1 FROM console_ticket t WHERE t.node_id = n.id)"
        f" LIMIT {_AT_ONCE}"
    )
    count += session.delete("node", id=gone)
    gone = session.column(
        f"SELECT c.id FROM cluster c WHERE c.gone_at < {before}"
        " AND NOT EXISTS (SELECT 1 FROM node n WHERE n.cluster_id = c.id)"
        " AND NOT EXISTS (SELECT 1 FROM computeset s WHERE s.cluster_id = c.id)"
        f" LIMIT {_AT_ONCE}"
    )
    return count + session.delete("cluster", id=gone)


class Stored(NamedTuple):
    """The size of a table: rows and MB as the server estimates them, and the moment of the oldest row."""

    table: str
    rows: int
    megabytes: float
    oldest: datetime | None


_MOMENTS = {
    "audit": "at",
    "operation": "created",
    "computeset": "created",
    "event": "at",
    "idempotency": "created",
}


def sizes(session: Session) -> list[Stored]:
    """The tables of the schema, the largest first."""
    found = session.rows(
        "SELECT TABLE_NAME, TABLE_ROWS, (DATA_LENGTH + INDEX_LENGTH) / 1048576 FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = DATABASE() ORDER BY 3 DESC, 1"
    )
    return [
        Stored(
            table,
            int(rows or 0),
            float(size or 0),
            session.value(f"SELECT MIN({_MOMENTS[table]}) FROM {table}") if table in _MOMENTS else None,
        )
        for table, rows, size in found
    ]
