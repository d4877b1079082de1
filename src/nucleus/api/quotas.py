"""Limits of projects, and the refusals of what would exceed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.api.problems import Problem, Remedy, limited
from nucleus.limits import LIMITS
from nucleus.mirror import identity, operations, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.api.service import Change
    from nucleus.mirror.pool import Session
    from nucleus.records import Cluster, Node

MAX_RENAMED_PER_HOUR = 2000
"""Nodes of a cluster that are renamed within an hour, or twice as many as it has, if that is more.

Their names are kept for long, in the history and in the audit log.
"""


MAX_UNFINISHED = 1000
"""Changes of a project that wait or run."""


def demand_quota(
    change: Change,
    cluster: Cluster,
    nodes: Sequence[Node],
    walltime_minutes: int | None = None,
) -> None:
    """Problem when the nodes, started now, would exceed a limit of the project. Locks the project's row."""
    if cluster.project_id is None:
        return
    project = identity.project_by_id(change.session, cluster.project_id, is_locked=True)
    if project is None or not project.limits:
        return
    requested: dict[str, int] = {}
    if not project.limits.keys().isdisjoint(usage.Usage._fields):
        used = usage.project_usage(change.session, project.id, [node.id for node in nodes])
        requested = {
            "vms": used.vms + len(nodes),
            "cpus": used.cpus + sum(node.cpus or 0 for node in nodes),
            "memory_mb": used.memory_mb + sum(node.memory_mb or 0 for node in nodes),
            "disk_gb": used.disk_gb + sum(node.disk_gb or 0 for node in nodes),
        }
        if walltime_minutes is not None:
            requested["sets"] = used.sets + 1
    if walltime_minutes is not None:
        requested["walltime_minutes"] = walltime_minutes
    for name, value in requested.items():
        demand_limit(project, name, value)


def demand_walltime(change: Change, cluster: Cluster, minutes: int) -> None:
    """Problem when a computeset would run longer than the project's may."""
    if cluster.project_id is not None:
        project = identity.project_by_id(change.session, cluster.project_id, is_locked=True)
        if project is not None:
            demand_limit(project, "walltime_minutes", minutes)


REMEDIES = {
    "walltime_minutes": "choose a shorter walltime",
    "node_hours": "choose fewer nodes or a shorter walltime",
    "images": "delete images",
    "image_bytes": "delete images",
    "consoles": "close a console",
}
"""What brings a project below a limit; below the others, the end of something."""


def demand_limit(project: identity.Project, name: str, value: float, where: str = "") -> None:
    """Problem when the project would have more than a limit of it."""
    limit = project.limits.get(name)
    if limit is not None and value > limit:
        raise Problem(
            "quota-exceeded",
            f"{LIMITS[name]}{where}: the project {project.name} would have {value:.15g}, and its limit is {limit};"
            f" {REMEDIES.get(name, 'end something')}, or ask the site's operators",
        )


def demand_short_queue(session: Session, project_id: int, added: int) -> None:
    """Problem when too many changes of the project were unfinished before these. Locks the project's row."""
    project = identity.project_by_id(session, project_id, is_locked=True)
    if project is not None and operations.count_unfinished(session, project_id) - added >= MAX_UNFINISHED:
        raise limited(
            f"{MAX_UNFINISHED} changes of the project {project.name} are not done yet; wait until some of them are",
            headers={"Retry-After": "10"},
            remedy=Remedy("list-operations"),
        )


def demand_few_renames(session: Session, cluster: Cluster, nodes: int, more: int) -> None:
    """Problem when too many names of the cluster, which has so many nodes, would have changed within an hour."""
    most = max(MAX_RENAMED_PER_HOUR, 2 * nodes)
    if more and operations.renamed_lately(session, cluster.id) + more > most:
        raise limited(
            f"{most} nodes of {cluster.name} at most are renamed within an hour; rename these later",
            headers={"Retry-After": "600"},
        )
