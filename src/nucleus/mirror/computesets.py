"""Computesets and their nodes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.mirror.columns import from_json, placeholders, to_json, visible
from nucleus.records import Computeset, JsonObject, Scope
from nucleus.states import CREATED, LIVING_SETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session

_COLUMNS = (
    "s.id, s.cluster_id, s.state, s.context, s.version, s.user, s.account, s.reservation, s.walltime_minutes,"
    " s.node_count, s.name, s.jobid, s.nodelist, s.start_time, s.created, s.requested_by, s.cancel_requested,"
    " s.end_reason, s.ended_at, s.degraded"
)
_CONTEXT = 3


class NewComputeset(NamedTuple):
    """A set that is asked for; `node_ids` in natural order of the nodes' names."""

    cluster_id: int
    node_ids: tuple[int, ...]
    user: str
    account: str
    reservation: str | None
    walltime_minutes: int
    requested_by: str
    context: JsonObject = {}


class SetFilter(NamedTuple):
    """Which sets; `before` is the last number of the page before."""

    states: tuple[str, ...] = ()
    cluster_id: int | None = None
    before: int | None = None
    limit: int | None = None


ALL_SETS = SetFilter()


def insert_computeset(session: Session, new: NewComputeset) -> int:
    """Store a set in state created, with its nodes. DuplicateError when another living set has one of the nodes."""
    session.execute(
        "INSERT INTO computeset (cluster_id, state, context, user, account, reservation, walltime_minutes, node_count,"
        " requested_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            new.cluster_id, CREATED, to_json(new.context), new.user, new.account, new.reservation,
            new.walltime_minutes, len(new.node_ids), new.requested_by,
        ),
    )  # fmt: skip
    number = session.last_id
    session.insert_many(
        "INSERT INTO computeset_node (computeset_id, node_id, position, active) VALUES",
        [(number, node_id, position, 1) for position, node_id in enumerate(new.node_ids)],
    )
    return number


def find_computeset(session: Session, scope: Scope, number: int, lock: bool = False) -> Computeset | None:
    """The set; None when there is none or the asker may not see it."""
    condition, values = visible(scope)
    found = _sets(
        session, f"WHERE s.id = %s AND {condition}{' FOR UPDATE' if lock else ''}", [number, *values]
    )
    return found[0] if found else None


def list_computesets(session: Session, scope: Scope, chosen: SetFilter = ALL_SETS) -> list[Computeset]:
    """Sets that the asker may see, by number; with `before`, the greatest numbers below it, descending."""
    condition, values = visible(scope)
    sql = f"WHERE {condition}"
    if chosen.states:
        sql, values = f"{sql} AND s.state IN ({placeholders(chosen.states)})", [*values, *chosen.states]
    if chosen.cluster_id is not None:
        sql, values = f"{sql} AND s.cluster_id = %s", [*values, chosen.cluster_id]
    if chosen.before is not None:
        sql, values = f"{sql} AND s.id < %s", [*values, chosen.before]
    sql += " ORDER BY s.id" + (" DESC" if chosen.before is not None else "")
    if chosen.limit is not None:
        sql, values = f"{sql} LIMIT %s", [*values, chosen.limit]
    return _sets(session, sql, values)


def living_sets(session: Session) -> list[Computeset]:
    """All sets that have not ended: for the driver."""
    return _sets(session, f"WHERE s.state IN ({placeholders(LIVING_SETS)}) ORDER BY s.id", LIVING_SETS)


def request_end(session: Session, number: int, how: str) -> bool:
    """Ask for a set's end; `how` is shutdown or poweroff, which replaces an earlier shutdown. Whether the set lives."""
    return bool(
        session.execute(
            "UPDATE computeset SET cancel_requested = IF(cancel_requested = 'poweroff', 'poweroff', %s)"
            f" WHERE id = %s AND state IN ({placeholders(LIVING_SETS)})",
            [how, number, *LIVING_SETS],
        )
    )


def store_computeset(session: Session, number: int, version: int, changed: dict[str, Any]) -> bool:
    """Store what a step changed (column → value; `context` and `timers` as objects); False when another was faster."""
    values = [to_json(value) if isinstance(value, dict) else value for value in changed.values()]
    columns = "".join(f", {column} = %s" for column in changed)
    return bool(
        session.execute(
            f"UPDATE computeset SET version = version + 1{columns} WHERE id = %s AND version = %s",
            [*values, number, version],
        )
    )


class NodeWithoutSet(NamedTuple):
    """A compute of owners that is on, and in no living set; `target` is CLUSTER/NODE."""

    id: int
    target: str
    host: str | None
    project_id: int | None
    cluster_id: int


def nodes_without_set(session: Session) -> list[NodeWithoutSet]:
    """All of them, by name; clusters without a project are the operators' own."""
    return [
        NodeWithoutSet(*row)
        for row in session.rows(
            "SELECT n.id, CONCAT(c.name, '/', n.name), n.physical_host, c.project_id, c.id FROM node n"
            " JOIN cluster c ON c.id = n.cluster_id LEFT JOIN computeset_node m ON m.node_id = n.id AND m.active = 1"
            " WHERE n.state = 'active' AND n.kind = 'compute' AND n.gone_at IS NULL AND c.project_id IS NOT NULL"
            " AND m.node_id IS NULL ORDER BY c.name, n.name"
        )
    ]


def late_sets(session: Session) -> list[int]:
    """Sets that end, and whose images were not written back in time."""
    rows = session.rows(
        "SELECT id FROM computeset WHERE state = 'ending' AND JSON_LENGTH(context, '$.hosts') > 0"
        " AND NOT JSON_EXISTS(timers, '$.sync_timeout') ORDER BY id"
    )
    return [number for (number,) in rows]


def read_timers(session: Session, number: int) -> JsonObject:
    """Name of a timer → when it is due, as `computesets.timers` has stored it; and other notes of the driver."""
    row = session.row("SELECT timers FROM computeset WHERE id = %s", (number,))
    return dict(from_json(row[0])) if row else {}


def release_nodes(session: Session, number: int) -> None:
    """Let other sets have the nodes of this one; that it had them is kept."""
    session.execute(
        "UPDATE computeset_node SET active = NULL, released_at = UTC_TIMESTAMP(3)"
        " WHERE computeset_id = %s AND active = 1",
        (number,),
    )


def _sets(session: Session, where: str, values: Sequence[Any]) -> list[Computeset]:
    rows = session.rows(
        f"SELECT {_COLUMNS} FROM computeset s JOIN cluster c ON c.id = s.cluster_id {where}", values
    )
    members: dict[int, list[int]] = defaultdict(list)
    if rows:
        numbers = [row[0] for row in rows]
        for number, node_id in session.rows(
            "SELECT computeset_id, node_id FROM computeset_node"
            f" WHERE computeset_id IN ({placeholders(numbers)}) ORDER BY computeset_id, position",
            numbers,
        ):
            members[number].append(node_id)
    return [_of_row(row, tuple(members[row[0]])) for row in rows]


def _of_row(row: Sequence[Any], node_ids: tuple[int, ...]) -> Computeset:
    values = [from_json(value) if place == _CONTEXT else value for place, value in enumerate(row)]
    values[-1] = bool(values[-1])
    return Computeset(*[*values, node_ids])
