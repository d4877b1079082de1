"""Clusters, their nodes and interfaces, as their owners may see them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.hostlists import natural_key
from nucleus.mirror.columns import from_json, in_one, like_of_glob, moment_of, placeholders, visible
from nucleus.records import Cluster, Interface, Node, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nucleus.mirror.pool import Session

_COLUMNS = (
    "c.id, c.name, c.rocks_name, c.description, c.project_id, p.name, c.vlan, c.username, c.generation,"
    " c.observed_topology, c.observed_power, c.observed_image, c.gone_at"
)
_FROM = "FROM cluster c LEFT JOIN project p ON p.id = c.project_id"
_CLUSTER = f"SELECT {_COLUMNS} {_FROM}"
_NODE = (
    "SELECT n.id, n.cluster_id, n.kind, n.name, n.rocks_name, n.physical_host, n.cpus, n.memory_mb, n.disk_gb,"
    " n.state, n.image_state, n.image_locked, n.gateway, n.dns1, n.dns2, n.ntp, n.type, n.iso, n.iso_active,"
    " n.admin_disabled, n.last_command_at, n.created, n.gone_at, m.computeset_id, s.state"
    " FROM node n LEFT JOIN computeset_node m ON m.node_id = n.id AND m.active = 1"
    " LEFT JOIN computeset s ON s.id = m.computeset_id"
)


class ClusterFilter(NamedTuple):
    """Which clusters of those that the asker may see; `after` is the last name of the page before."""

    project: str | None = None
    name_glob: str | None = None
    node_state: str | None = None
    after: str | None = None
    limit: int | None = None


ALL_CLUSTERS = ClusterFilter()


def list_clusters(session: Session, scope: Scope, chosen: ClusterFilter = ALL_CLUSTERS) -> list[Cluster]:
    """The living clusters that the asker may see, by name."""
    condition, values = visible(scope)
    sql = f"{_CLUSTER} WHERE c.gone_at IS NULL AND {condition}"
    if chosen.project is not None:
        sql, values = f"{sql} AND p.name = %s", [*values, chosen.project]
    if chosen.name_glob is not None:
        sql, values = f"{sql} AND c.name LIKE %s", [*values, like_of_glob(chosen.name_glob)]
    if chosen.node_state is not None:
        sql += " AND EXISTS (SELECT 1 FROM node n WHERE n.cluster_id = c.id AND n.gone_at IS NULL AND n.state = %s)"
        values = [*values, chosen.node_state]
    if chosen.after is not None:
        sql, values = f"{sql} AND c.name > %s", [*values, chosen.after]
    sql += " ORDER BY c.name"
    if chosen.limit is not None:
        sql, values = f"{sql} LIMIT %s", [*values, chosen.limit]
    return [Cluster(*row) for row in session.rows(sql, values)]


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
    return Cluster(*stored[:9], *map(moment_of, stored[9:]))


def find_cluster_by_id(session: Session, scope: Scope, number: int) -> Cluster | None:
    """The cluster with that number, also one that is gone."""
    condition, values = visible(scope)
    row = session.row(f"{_CLUSTER} WHERE c.id = %s AND {condition}", [number, *values])
    return Cluster(*row) if row else None


def nodes_of(session: Session, scope: Scope, cluster_ids: Sequence[int]) -> dict[int, list[Node]]:
    """Number of the cluster → its living nodes, the frontend first, then computes in natural order of their names."""
    condition, values = visible(scope)
    found: dict[int, list[Node]] = defaultdict(list)
    if not cluster_ids:
        return found
    sql = (
        f"{_NODE} JOIN cluster c ON c.id = n.cluster_id WHERE n.gone_at IS NULL"
        f" AND n.cluster_id IN ({placeholders(cluster_ids)}) AND {condition}"
    )
    for row in session.rows(sql, [*cluster_ids, *values]):
        found[row[1]].append(node_of_row(row))
    for nodes in found.values():
        nodes.sort(key=lambda node: (node.kind != "frontend", natural_key(node.name)))
    return found


def find_node(
    session: Session, scope: Scope, cluster_id: int, name: str | None, lock: bool = False
) -> Node | None:
    """The living compute of that name, or the frontend where `name` is None; None when there is none."""
    condition, values = visible(scope)
    which, value = (
        ("n.kind = %s", "frontend") if name is None else ("n.kind = 'compute' AND n.name = %s", name)
    )
    row = session.row(
        f"{_NODE} JOIN cluster c ON c.id = n.cluster_id WHERE n.cluster_id = %s AND {which}"
        f" AND n.gone_at IS NULL AND {condition}{' FOR UPDATE' if lock else ''}",
        [cluster_id, value, *values],
    )
    return node_of_row(row) if row else None


def nodes_by_id(
    session: Session, scope: Scope, node_ids: Iterable[int], lock: bool = False
) -> dict[int, Node]:
    """Number → node, also of nodes that are gone."""
    numbers = sorted(set(node_ids))
    condition, values = visible(scope)
    rows = session.rows(
        f"{_NODE} JOIN cluster c ON c.id = n.cluster_id WHERE n.id IN ({placeholders(numbers)})"
        f" AND {condition} ORDER BY n.id{' FOR UPDATE' if lock else ''}",
        [*numbers, *values],
    )
    return {row[0]: node_of_row(row) for row in rows}


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


def bump_generation(session: Session, cluster_ids: Iterable[int]) -> None:
    """Note that something of these clusters, which their readers see, has changed."""
    numbers = sorted(set(cluster_ids))
    if numbers:
        session.execute(
            f"UPDATE cluster SET generation = generation + 1 WHERE id IN ({placeholders(numbers)})", numbers
        )


def note_commands(session: Session, node_ids: Iterable[int]) -> None:
    """Note that a command of these nodes begins or ends now: what was polled before does not count for them."""
    numbers = sorted(set(node_ids))
    if numbers:
        session.execute(
            f"UPDATE node SET last_command_at = UTC_TIMESTAMP(3) WHERE id IN ({placeholders(numbers)})",
            numbers,
        )


def node_of_row(row: Sequence[Any]) -> Node:
    """The node of a row of the columns of `_NODE`."""
    node = Node(*row)
    return node._replace(
        image_locked=None if node.image_locked is None else bool(node.image_locked),
        admin_disabled=bool(node.admin_disabled),
    )
