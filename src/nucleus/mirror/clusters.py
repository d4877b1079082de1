"""Clusters, their nodes and interfaces, as their owners may see them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from comet.client.hostlists import natural_key
from nucleus.mirror.columns import columns_of, from_json, in_one, moment_of, placeholders, same_name, visible
from nucleus.records import Cluster, Interface, Node, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from nucleus.mirror.pool import Session

_COLUMNS = (
    "c.id, c.name, c.rocks_name, c.description, c.project_id, p.name, c.vlan, c.username, c.generation,"
    " c.observed_topology, c.observed_power, c.observed_image, c.gone_at"
)
_FROM = "FROM cluster c LEFT JOIN project p ON p.id = c.project_id"
_CLUSTER = f"SELECT {_COLUMNS} {_FROM}"
_NODE = (
    f"SELECT {columns_of('n', Node._fields[:-3])}, m.computeset_id, s.state, s.merged_into"
    " FROM node n LEFT JOIN computeset_node m ON m.node_id = n.id AND m.active = 1"
    " LEFT JOIN computeset s ON s.id = m.computeset_id"
)


def list_clusters(
    session: Session, scope: Scope, project: str | None = None, node_state: str | None = None
) -> list[Cluster]:
    """The living clusters that the asker may see, by name; of a project, and with a node in a state."""
    condition, values = visible(scope)
    sql = f"{_CLUSTER} WHERE c.gone_at IS NULL AND {condition}"
    if project is not None:
        sql, values = f"{sql} AND p.name = %s", [*values, project]
    if node_state is not None:
        sql += " AND EXISTS (SELECT 1 FROM node n WHERE n.cluster_id = c.id AND n.gone_at IS NULL AND n.state = %s)"
        values = [*values, node_state]
    found = [Cluster(*row) for row in session.rows(f"{sql} ORDER BY c.name", values)]
    return [one for one in found if project is None or same_name(one.project or "", project)]


def find_cluster(session: Session, scope: Scope, name: str, lock: bool = False) -> Cluster | None:
    """The living cluster of that name; None when there is none or the asker may not see it.

    `lock`: nobody else changes it, its nodes or its sets before the end of the transaction.
    """
    condition, values = visible(scope)
    row = session.row(
        f"SELECT {in_one(_COLUMNS)} {_FROM} WHERE c.name = %s AND c.gone_at IS NULL AND {condition}"
        f"{' FOR UPDATE' if lock else ''}",
        [name, *values],
    )
    if row is None:
        return None
    stored: list[Any] = from_json(row[0])
    found = Cluster(*stored[:9], *map(moment_of, stored[9:]))
    return found if same_name(found.name, name) else None


def find_cluster_by_id(session: Session, scope: Scope, number: int) -> Cluster | None:
    """The cluster with that number, also one that is gone."""
    return clusters_by_id(session, scope, [number]).get(number)


def clusters_by_id(session: Session, scope: Scope, cluster_ids: Iterable[int]) -> dict[int, Cluster]:
    """Number → cluster that the asker may see, also one that is gone."""
    numbers = sorted(set(cluster_ids))
    if not numbers:
        return {}
    condition, values = visible(scope)
    which = f"c.id IN ({placeholders(numbers)}) AND {condition}"
    rows = session.rows(f"{_CLUSTER} WHERE {which}", [*numbers, *values])
    return {row[0]: Cluster(*row) for row in rows}


def nodes_of(session: Session, scope: Scope, cluster_ids: Sequence[int]) -> dict[int, list[Node]]:
    """Number of the cluster → its living nodes, the frontend first, then computes in natural order of their names."""
    found: dict[int, list[Node]] = defaultdict(list)
    which = f"n.gone_at IS NULL AND n.cluster_id IN ({placeholders(cluster_ids)})"
    for node in _nodes(session, scope, which, cluster_ids):
        found[node.cluster_id].append(node)
    for nodes in found.values():
        nodes.sort(key=lambda node: (node.kind != "frontend", natural_key(node.name)))
    return found


def find_node(
    session: Session, scope: Scope, cluster_id: int, name: str | None, lock: bool = False
) -> Node | None:
    """The living compute of that name, or the frontend where `name` is None; None when there is none."""
    which = "n.kind = 'frontend' AND %s IS NULL" if name is None else "n.kind = 'compute' AND n.name = %s"
    which = f"n.gone_at IS NULL AND n.cluster_id = %s AND {which}"
    found = _nodes(session, scope, which, [cluster_id, name], " FOR UPDATE" if lock else "")
    return next((node for node in found if name is None or same_name(node.name, name)), None)


def nodes_by_id(session: Session, scope: Scope, node_ids: Iterable[int]) -> dict[int, Node]:
    """Number → node, also of nodes that are gone."""
    numbers = sorted(set(node_ids))
    found = _nodes(session, scope, f"n.id IN ({placeholders(numbers)})", numbers, " ORDER BY n.id")
    return {node.id: node for node in found}


class MemberNode(NamedTuple):
    """What the controller of computesets needs of a node: it reads those of all sets each second.

    `observed_power`, `observed_image`: of its cluster, which may not be that of its set any more.
    """

    id: int
    state: str | None
    physical_host: str | None
    image_state: str | None
    image_locked: bool | None
    last_command_at: datetime | None
    gone_at: datetime | None
    observed_power: datetime | None
    observed_image: datetime | None


def member_nodes(session: Session, node_ids: Iterable[int]) -> dict[int, MemberNode]:
    """Number → node, also of nodes that are gone."""
    numbers = sorted(set(node_ids))
    rows = session.rows(
        f"SELECT {columns_of('n', MemberNode._fields[:-2])}, c.observed_power, c.observed_image"
        f" FROM node n JOIN cluster c ON c.id = n.cluster_id WHERE n.id IN ({placeholders(numbers)})",
        numbers,
    )
    return {row[0]: MemberNode(*row) for row in rows}


def _nodes(session: Session, scope: Scope, which: str, values: Sequence[Any], then: str = "") -> list[Node]:
    if not values:
        return []
    condition, own = visible(scope)
    sql = f"{_NODE} JOIN cluster c ON c.id = n.cluster_id WHERE {which} AND {condition}{then}"
    return [Node(*row) for row in session.rows(sql, [*values, *own])]


def interfaces_of(session: Session, scope: Scope, cluster_ids: Sequence[int]) -> dict[int, list[Interface]]:
    """Number of the node → its interfaces, the private one first."""
    condition, values = visible(scope)
    found: dict[int, list[Interface]] = defaultdict(list)
    rows = session.rows(
        "SELECT i.node_id, i.iface, i.mac, i.ip, i.netmask, i.subnet, i.vlan FROM interface i"
        " JOIN node n ON n.id = i.node_id JOIN cluster c ON c.id = n.cluster_id"
        f" WHERE n.cluster_id IN ({placeholders(cluster_ids)}) AND {condition}"
        " ORDER BY i.node_id, i.position, i.iface",
        [*cluster_ids, *values],
    )
    for node_id, *values_of_interface in rows:
        found[node_id].append(Interface(*values_of_interface))
    return found


def allocations_of(session: Session, scope: Scope, cluster_ids: Sequence[int]) -> dict[int, list[str]]:
    """Number of the cluster → its allocations, by name."""
    condition, values = visible(scope)
    found: dict[int, list[str]] = defaultdict(list)
    rows = session.rows(
        "SELECT a.cluster_id, l.name FROM cluster_allocation a JOIN allocation l ON l.id = a.allocation_id"
        f" JOIN cluster c ON c.id = a.cluster_id WHERE a.cluster_id IN ({placeholders(cluster_ids)}) AND {condition}"
        " ORDER BY l.name",
        [*cluster_ids, *values],
    )
    for cluster_id, name in rows:
        found[cluster_id].append(name)
    return found


def list_without_text(session: Session, written_by: str) -> list[Cluster]:
    """The living clusters of whose generation no text is stored; those that are gone lose theirs."""
    session.execute(
        "DELETE t FROM cluster_text t JOIN cluster c ON c.id = t.cluster_id AND c.gone_at IS NOT NULL"
    )
    rows = session.rows(
        f"{_CLUSTER} LEFT JOIN cluster_text t ON t.cluster_id = c.id AND t.generation = c.generation"
        " AND t.written_by = %s WHERE c.gone_at IS NULL AND t.cluster_id IS NULL",
        (written_by,),
    )
    return [Cluster(*row) for row in rows]


def read_texts(session: Session, listed: Iterable[Cluster], written_by: str) -> dict[int, bytes]:
    """Number of the cluster → the text that is stored of its generation."""
    generations = {one.id: one.generation for one in listed}
    rows = session.rows(
        "SELECT cluster_id, text, generation FROM cluster_text"
        f" WHERE written_by = %s AND cluster_id IN ({placeholders(generations)})",
        [written_by, *generations],
    )
    return {number: text for number, text, generation in rows if generation == generations[number]}


def store_texts(session: Session, of: Iterable[Cluster], written_by: str, texts: Mapping[int, bytes]) -> None:
    """Store the text of each, in place of that of an older generation."""
    for one in of:  # a statement each: together they may exceed max_allowed_packet
        session.execute(
            "REPLACE INTO cluster_text (cluster_id, generation, written_by, text) VALUES (%s, %s, %s, %s)",
            [one.id, one.generation, written_by, texts[one.id]],
        )


def bump_generation(session: Session, cluster_ids: Iterable[int]) -> None:
    """Note that something of these clusters, which their readers see, has changed."""
    numbers = sorted(set(cluster_ids))
    session.update("cluster", {}, "generation = generation + 1", id=numbers)


def remove_nodes(session: Session, cluster_id: int, node_ids: Sequence[int], *, with_cluster: bool) -> None:
    """Note that the site has removed these nodes, and the cluster: a poll that began before does not count."""
    bump_generation(session, [cluster_id])  # the cluster is locked before its nodes
    session.delete("interface", node_id=list(node_ids))
    session.update(
        "node", {}, "gone_at = UTC_TIMESTAMP(3), last_command_at = UTC_TIMESTAMP(3)", id=list(node_ids)
    )
    if with_cluster:
        session.update("cluster", {}, "gone_at = UTC_TIMESTAMP(3)", id=cluster_id)


def rename_nodes(session: Session, names: dict[int, str]) -> None:
    """Number of a node → its new name; all at once, so that names can be swapped. DuplicateError when one is taken."""
    if not names:
        return
    # each statement checks the unique names row by row: all old ones go first
    session.update("node", {}, "name = CONCAT('~', id)", id=list(names))
    cases = " ".join("WHEN %s THEN %s" for _ in names)
    values = [value for pair in names.items() for value in pair]
    session.execute(
        f"UPDATE node SET name = CASE id {cases} END WHERE id IN ({placeholders(names)})", [*values, *names]
    )


def assign_cluster(session: Session, cluster_id: int, project_id: int | None) -> None:
    """Give the cluster to a project, or take it back."""
    session.execute(
        "UPDATE cluster SET assigned_at = IF(project_id <=> %s, assigned_at, UTC_TIMESTAMP(3)), project_id = %s"
        " WHERE id = %s",
        (project_id, project_id, cluster_id),
    )


def assigned_at(session: Session, cluster_id: int) -> float:
    """Since when the cluster is its project's, in UNIX seconds; 0 where it is no project's."""
    moment = session.value("SELECT assigned_at FROM cluster WHERE id = %s", (cluster_id,))
    return float(moment.timestamp()) if moment else 0.0
