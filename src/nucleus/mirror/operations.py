"""Operations: stored when they are asked for, changed by workers, followed by their askers."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from nucleus.mirror.columns import (
    columns_of,
    from_json,
    new_ulid,
    oldest_ulid,
    placeholders,
    to_json,
    visible,
)
from nucleus.power_actions import POWER_ACTIONS
from nucleus.records import SYSTEM, JsonObject, NewOperation, Operation, Scope
from nucleus.states import QUEUED, RUNNING, SUCCEEDED, outcome_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session

_COLUMNS = columns_of("o", Operation._fields)
_LEAVES_ON = {
    **{name: one.leaves_on for name, one in POWER_ACTIONS.items() if one.leaves_on is not None},
    "start_member": True,
    **dict.fromkeys(("poweroff_member", "shutdown_member", "destroy"), False),
}
"""Kind of an operation that decides the power of a node → whether it leaves it on."""

_ENDED = "ended = UTC_TIMESTAMP(3), generation = generation + 1"


def insert_operation(session: Session, new: NewOperation) -> Operation:
    """Store an operation to be done, or return the last queued one of the same node, if it asks the same.

    The same: kind, node, set, project and arguments, by whomever. So is one with the same `unique_key`, in whatever
    state. The caller has the row of the node or its cluster locked, so that two askers are one after the other.
    """
    arguments = to_json(new.arguments)
    merged = _find_equal(session, new, arguments)
    if merged is not None:
        return merged
    # operations of a node are done in the order of their identifiers, by whatever clock those were made
    newest = session.value(
        "SELECT MAX(id) FROM operation WHERE target_node = %s AND state IN ('queued', 'running')",
        (new.target_node,),
    )
    columns = {**new._asdict(), "id": new_ulid(newest)}
    delay = columns.pop("delay_seconds")
    session.insert("operation", columns)
    if delay > 0:
        session.update("operation", {}, f"not_before = {_after(delay)}", id=columns["id"])
    stored = find_operation(session, SYSTEM, columns["id"])
    assert stored is not None
    return stored


def record_done(session: Session, new: NewOperation, result: JsonObject) -> str:
    """Store an operation that this transaction does itself, for the history; its identifier."""
    columns = {**new._asdict(), "id": new_ulid(None), "state": SUCCEEDED, "result": result}
    del columns["delay_seconds"]
    session.insert("operation", columns)
    session.update("operation", {}, "started = created, ended = created", id=columns["id"])
    return str(columns["id"])


def _after(seconds: float) -> str:
    return f"UTC_TIMESTAMP(3) + INTERVAL {seconds:f} SECOND"


def _find_equal(session: Session, new: NewOperation, arguments: str) -> Operation | None:
    if new.unique_key is not None:
        return _first(session, "WHERE o.unique_key = %s", (new.unique_key,))
    if new.target_node is None:
        return None
    found = session.value(
        "SELECT o.id FROM operation o"
        " WHERE o.target_node = %s AND o.state = 'queued' AND o.kind = %s AND o.arguments = %s"
        " AND o.target_set <=> %s AND o.project_id <=> %s"
        " AND NOT EXISTS (SELECT 1 FROM operation later WHERE later.target_node = o.target_node"
        " AND later.state = 'queued' AND later.id > o.id)",
        (new.target_node, new.kind, arguments, new.target_set, new.project_id),
    )
    if not _lock_in(session, ["queued"], [found] if found else []):
        return None
    return find_operation(session, SYSTEM, found)


def _lock_in(session: Session, states: Sequence[str], identifiers: Sequence[str]) -> list[tuple[str, str]]:
    """Lock those of these operations that are in one of the states, in the order of their identifiers; (id, state).

    They were found without locks, and are locked by their identifiers. A search by node or set locks the entry of that
    index first and the operation then; a worker that claims it locks in the other order, and both would wait.
    """
    if not identifiers:
        return []
    rows = session.rows(
        f"SELECT id, state FROM operation FORCE INDEX (PRIMARY) WHERE id IN ({placeholders(identifiers)})"
        f" AND state IN ({placeholders(states)}) ORDER BY id FOR UPDATE",
        [*identifiers, *states],
    )
    return [(identifier, state) for identifier, state in rows]


def states_of(session: Session, identifiers: Sequence[str]) -> dict[str, str]:
    """Identifier → state of those that are operations' identifiers."""
    # the database compares the column with ASCII only
    possible = [one for one in identifiers if one.isascii()]
    which = placeholders(possible)
    return dict(session.rows(f"SELECT id, state FROM operation WHERE id IN ({which})", possible))


def find_operation(session: Session, scope: Scope, identifier: str, lock: bool = False) -> Operation | None:
    """The operation; None when there is none or the asker may not see it."""
    condition, values = visible(scope, "o.project_id")
    where = f"WHERE o.id = %s AND {condition}{' FOR UPDATE' if lock else ''}"
    return _first(session, where, [identifier, *values])


def list_operations(
    session: Session,
    scope: Scope,
    *,
    states: Sequence[str] = (),
    cluster_id: int | None = None,
    node_id: int | None = None,
    set_id: int | None = None,
    kind: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Operation]:
    """Operations that the asker may see, the newest first; `before` is the last identifier of the page before."""
    condition, values = visible(scope, "o.project_id")
    sql = f"SELECT {_COLUMNS} FROM operation o WHERE {condition}"
    if states:
        sql, values = f"{sql} AND o.state IN ({placeholders(states)})", [*values, *states]
    which = {"target_cluster": cluster_id, "target_node": node_id, "target_set": set_id, "kind": kind}
    for column, value in which.items():
        if value is not None:
            sql, values = f"{sql} AND o.{column} = %s", [*values, value]
    if before is not None:
        sql, values = f"{sql} AND o.id < %s", [*values, before]
    return [_of_row(row) for row in session.rows(f"{sql} ORDER BY o.id DESC LIMIT %s", [*values, limit])]


def cancel_operation(session: Session, scope: Scope, identifier: str) -> bool:
    """Cancel an operation that nobody has begun, and that is not a part of a computeset; whether it was one."""
    condition, values = visible(scope, "project_id")
    return bool(
        session.execute(
            f"UPDATE operation SET state = 'cancelled', {_ENDED}"
            f" WHERE id = %s AND state = 'queued' AND unique_key IS NULL"
            " AND (started IS NULL OR NOT JSON_EXISTS(arguments, '$.nodes'))"  # its parts go on
            f" AND kind NOT IN ('start_set', 'end_set') AND {condition}",
            [identifier, *values],
        )
    )


def _update_own(session: Session, operation: Operation, columns: JsonObject, also: str) -> bool:
    """Change an operation that runs; False when it is no longer this attempt of this worker."""
    own = {"id": operation.id, "state": RUNNING, "worker": operation.worker, "attempts": operation.attempts}
    return bool(session.update("operation", columns, also, **own))


def store_step(session: Session, operation: Operation, step: JsonObject) -> bool:
    """Add what was done to the operation's progress; False when it is no longer this attempt."""
    return bool(
        session.execute(
            "UPDATE operation SET progress = JSON_ARRAY_APPEND(progress, '$', JSON_EXTRACT(%s, '$')),"
            " generation = generation + 1 WHERE id = %s AND state = 'running' AND worker = %s AND attempts = %s",
            (to_json(step), operation.id, operation.worker, operation.attempts),
        )
    )


def running_of(session: Session, kind: str) -> int:
    """How many operations of a kind run."""
    return int(session.value("SELECT COUNT(*) FROM operation WHERE state = 'running' AND kind = %s", (kind,)))


def put_back(session: Session, operation: Operation, delay_seconds: float, error: JsonObject | None) -> bool:
    """Queue it again, to be done after a while; False when it is no longer this attempt."""
    also = f"generation = generation + 1, not_before = {_after(delay_seconds)}"
    return _update_own(session, operation, {"worker": None, "error": error, "state": QUEUED}, also)


def end_operation(
    session: Session, operation: Operation, result: JsonObject | None, error: JsonObject | None
) -> bool:
    """Record its outcome: success where `error` is None. False when it is no longer this attempt."""
    outcome = {"state": outcome_of(error), "result": result, "error": error}
    return _update_own(session, operation, outcome, _ENDED)


def end_set_operations(
    session: Session, set_id: int, kind: str, error: JsonObject | None, states: Sequence[str]
) -> list[tuple[str, str]]:
    """End the operations of a set that the computesets' controller ends, not a worker; (id, state before) of each."""
    found = session.column(
        f"SELECT id FROM operation WHERE target_set = %s AND kind = %s AND state IN ({placeholders(states)})",
        (set_id, kind, *states),
    )
    return _end_found(session, found, error, states)


def end_queued_operations(
    session: Session, node_ids: Sequence[int], kinds: Sequence[str], error: JsonObject
) -> list[tuple[str, str]]:
    """End what is queued of these kinds for the nodes; (id, state before) of each."""
    found = session.column(
        f"SELECT id FROM operation WHERE target_node IN ({placeholders(node_ids)}) AND state = 'queued'"
        f" AND kind IN ({placeholders(kinds)})",
        (*node_ids, *kinds),
    )
    return _end_found(session, found, error, [QUEUED])


def _end_found(
    session: Session, found: Sequence[str], error: JsonObject | None, states: Sequence[str]
) -> list[tuple[str, str]]:
    ended = _lock_in(session, states, found)
    names = [identifier for identifier, _ in ended]
    session.update("operation", {"state": outcome_of(error), "error": error}, _ENDED, id=names)
    return ended


def count_unfinished(session: Session, project_id: int) -> int:
    """How many changes of a project wait or run; one of many nodes counts for each.

    Without parts of others, and without computesets, which are limited by their nodes.
    """
    return int(
        session.value(
            "SELECT IFNULL(SUM(IFNULL(JSON_LENGTH(arguments, '$.nodes'), 1)), 0) FROM operation"
            " WHERE project_id = %s AND state IN ('queued', 'running') AND unique_key IS NULL"
            " AND kind NOT IN ('start_set', 'end_set')",
            (project_id,),
        )
    )


def renamed_lately(session: Session, cluster_id: int) -> int:
    """How many nodes of a cluster were renamed within an hour; one counts as often as it was."""
    return int(
        session.value(
            "SELECT IFNULL(SUM(JSON_LENGTH(result, '$.names')), 0) FROM operation"
            " WHERE target_cluster = %s AND id > %s AND kind = 'rename'",
            (cluster_id, oldest_ulid(3600)),
        )
    )


def nodes_in_work(session: Session, set_id: int, kind: str) -> set[int]:
    """Nodes for which an operation of that kind, for the set, is queued or runs."""
    return _nodes(session, "target_set = %s AND kind = %s AND target_node IS NOT NULL", (set_id, kind))


def busy_nodes(session: Session, node_ids: Sequence[int]) -> set[int]:
    """The nodes of which an operation is queued or runs."""
    return _nodes(session, f"target_node IN ({placeholders(node_ids)})", node_ids)


def coming_power(session: Session, node_ids: Sequence[int]) -> dict[int, tuple[str, bool]]:
    """Node → (identifier, whether it leaves it on) of the last operation, queued or running, that decides its power."""
    rows = session.rows(
        f"SELECT target_node, id, kind FROM operation WHERE target_node IN ({placeholders(node_ids)})"
        f" AND kind IN ({placeholders(_LEAVES_ON)}) AND state IN ('queued', 'running') ORDER BY id",
        [*node_ids, *_LEAVES_ON],
    )
    return {node: (identifier, _LEAVES_ON[kind]) for node, identifier, kind in rows}


def targets_in_work(session: Session, cluster_id: int, kind: str) -> set[int | None]:
    """Nodes of a cluster for which an operation of that kind is queued or runs; None where it is for the cluster."""
    return {*_nodes(session, "target_cluster = %s AND kind = %s", (cluster_id, kind))}


def _nodes(session: Session, which: str, values: Sequence[Any]) -> set[int]:
    sql = f"SELECT target_node FROM operation WHERE {which} AND state IN ('queued', 'running')"
    return set(session.column(sql, values))


def failed_operations(
    session: Session, set_ids: Sequence[int], kind: str
) -> dict[int, list[tuple[str, int]]]:
    """Set → (identifier, node) of its operations of this kind that have failed, in the order of their identifiers."""
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for set_id, identifier, node in session.rows(
        f"SELECT target_set, id, target_node FROM operation WHERE target_set IN ({placeholders(set_ids)})"
        " AND kind = %s AND state = 'failed' AND target_node IS NOT NULL ORDER BY id",
        [*set_ids, kind],
    ):
        found[set_id].append((identifier, node))
    return found


def _first(session: Session, where: str, values: Sequence[Any]) -> Operation | None:
    row = session.row(f"SELECT {_COLUMNS} FROM operation o {where}", values)
    return _of_row(row) if row else None


def _of_row(row: Sequence[Any]) -> Operation:
    one = Operation(*row)
    of_json = {name: from_json(getattr(one, name)) for name in ("arguments", "progress", "result", "error")}
    return one._replace(**of_json)
