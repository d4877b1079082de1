"""What projects use, and what computesets are charged: machines that run, minutes of nodes, images."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import placeholders
from nucleus.records import Account
from nucleus.states import LIVING_SETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session

_MAY_RUN = (
    "(n.state NOT IN ('shutoff', 'nostate', 'nostate-error')"
    " OR IFNULL(n.state, 'nostate-error') = 'nostate-error' AND n.physical_host IS NOT NULL)"
)
"""A machine without a host has no known state: it has never been started."""


class Usage(NamedTuple):
    """Machines that are on or about to be, and what belongs to them."""

    vms: int
    cpus: int
    memory_mb: int
    disk_gb: int
    sets: int


def project_usage(session: Session, project_id: int, without: Sequence[int]) -> Usage:
    """Machines of the project that may run, are in a living set, or have an unfinished start; some nodes left out.

    One whose host does not answer, or that has crashed, may run. `without` has a number at least.
    """
    row = session.row(
        "SELECT COUNT(*), SUM(cpus), SUM(memory_mb), SUM(disk_gb) FROM node n JOIN cluster c ON c.id = n.cluster_id"
        f" WHERE c.project_id = %s AND n.gone_at IS NULL AND n.id NOT IN ({placeholders(without)})"
        f" AND ({_MAY_RUN} OR EXISTS"
        " (SELECT 1 FROM computeset_node m WHERE m.node_id = n.id AND m.active = 1) OR EXISTS"
        " (SELECT 1 FROM operation o WHERE o.target_node = n.id AND o.kind = 'poweron'"
        " AND o.state IN ('queued', 'running')))",
        (project_id, *without),
    )
    sets = session.value(
        "SELECT COUNT(*) FROM computeset s JOIN cluster c ON c.id = s.cluster_id"
        f" WHERE c.project_id = %s AND s.state IN ({placeholders(LIVING_SETS)})",
        (project_id, *LIVING_SETS),
    )
    vms, cpus, memory, disk = (int(value or 0) for value in row or (0, 0, 0, 0))
    return Usage(vms, cpus, memory, disk, sets)


RESERVED = "IF(s.ended_at IS NULL, s.node_count * s.walltime_minutes, 0)"
CHARGED = (
    "IF(s.ended_at IS NULL, 0,"
    " s.node_count * CEIL(IFNULL(TIMESTAMPDIFF(SECOND, s.start_time, s.ended_at), 0) / 60))"
)


def allocation_usage(
    session: Session, projects: Sequence[int]
) -> list[tuple[int, str, int, int, Account | None]]:
    """(project, allocation, charged node minutes, reserved ones, account) of what the projects' clusters may charge.

    The minutes are those of all sets that charge the allocation, also of other projects: the limit counts them. Where
    the batch system counts, they are the account's, and of sets only those are added that wait.
    """
    if not projects:
        return []
    rows = session.rows(
        f"SELECT o.project_id, o.name, SUM({CHARGED}), SUM({RESERVED}),"
        f" SUM(IF(s.start_time IS NULL, {RESERVED}, 0)), o.limit_minutes, o.used_minutes, o.running_minutes,"
        " o.left_minutes, o.limited_by FROM"
        " (SELECT DISTINCT c.project_id, a.name, a.limit_minutes, a.used_minutes, a.running_minutes, a.left_minutes,"
        " a.limited_by FROM cluster c"
        " JOIN cluster_allocation x ON x.cluster_id = c.id"
        f" JOIN allocation a ON a.id = x.allocation_id WHERE c.project_id IN ({placeholders(projects)})) o"
        " LEFT JOIN computeset s ON s.account = o.name GROUP BY o.project_id, o.name ORDER BY o.name",
        list(projects),
    )
    found: list[tuple[int, str, int, int, Account | None]] = []
    for project, name, charged, reserved, waiting, limit, used, running, left, by in rows:
        if used is None:
            found.append((project, name, int(charged or 0), int(reserved or 0), None))
        else:
            account = Account(limit, used, running, left, by)
            found.append((project, name, used, running + int(waiting or 0), account))
    return found


def left_minutes(limit: int | None, charged: int, reserved: int, account: Account | None) -> int | None:
    """Node minutes that an allocation has left of `allocation_usage`, less what waits; None: no limit.

    `limit`: the project's, of a site without a batch system that counts.
    """
    if account is None:
        return None if limit is None else max(0, limit - charged - reserved)
    if account.left_minutes is None:
        return None
    return max(0, account.left_minutes - reserved + account.running_minutes)


def living_sets_of(session: Session, username: str, project_id: int | None) -> list[int]:
    """The sets that a user has started, and that have not ended; those of one project only."""
    of_project, values = ("", []) if project_id is None else (" AND project_id = %s", [project_id])
    sql = f"SELECT id FROM computeset WHERE requested_by = %s AND state IN ({placeholders(LIVING_SETS)})"
    return session.column(f"{sql}{of_project} ORDER BY id", [username, *LIVING_SETS, *values])


def living_sets_in(session: Session, cluster_id: int) -> list[tuple[int, str]]:
    """(number, account) of the computesets of a cluster that have not ended, by number."""
    return session.rows(
        f"SELECT id, account FROM computeset WHERE cluster_id = %s AND state IN ({placeholders(LIVING_SETS)})"
        " ORDER BY id",
        (cluster_id, *LIVING_SETS),
    )
