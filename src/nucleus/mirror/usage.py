"""What projects use, and what computesets are charged: machines that run, minutes of nodes, images."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import placeholders, visible
from nucleus.records import Account, Scope
from nucleus.states import LIVING_SETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session

_MAY_RUN = (
    "(n.state NOT IN ('shutoff', 'nostate', 'nostate-error')"
    " OR IFNULL(n.state, 'nostate-error') = 'nostate-error' AND n.physical_host IS NOT NULL)"
)
"""Of a machine without a host nobody can know a state: it has never been started."""


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


_RESERVED = "IF(s.ended_at IS NULL, s.node_count * s.walltime_minutes, 0)"
_CHARGED = (
    "IF(s.ended_at IS NULL, 0,"
    " s.node_count * CEIL(IFNULL(TIMESTAMPDIFF(SECOND, s.start_time, s.ended_at), 0) / 60))"
)


def committed_minutes(session: Session, account: str) -> int:
    """Node minutes that an allocation's sets have used, and that its living ones may use. Locks the allocation."""
    session.row("SELECT id FROM allocation WHERE name = %s FOR UPDATE", (account,))
    minutes = session.value(
        f"SELECT SUM({_RESERVED} + {_CHARGED}) FROM computeset s WHERE s.account = %s", (account,)
    )
    return int(minutes or 0)


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
        f"SELECT o.project_id, o.name, SUM({_CHARGED}), SUM({_RESERVED}),"
        f" SUM(IF(s.start_time IS NULL, {_RESERVED}, 0)), o.limit_minutes, o.used_minutes, o.running_minutes,"
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


class Charge(NamedTuple):
    """What computesets that have ended were charged, in seconds of nodes; `project` None: of no project."""

    allocation: str
    project: str | None
    user: str
    cluster: str
    computesets: int
    charged_seconds: int


def charges(
    session: Session, scope: Scope, begin: datetime | None = None, end: datetime | None = None
) -> list[Charge]:
    """The charges of sets that ended from `begin` on and before `end`, in the asker's projects: those of the time.

    A set belongs to the time of its end only, so the charges of times that follow each other add up to all.
    """
    condition, values = visible(scope, "s.project_id")
    for moment, compared in ((begin, ">="), (end, "<")):
        if moment is not None:
            condition, values = f"{condition} AND s.ended_at {compared} %s", [*values, moment]
    rows = session.rows(
        "SELECT s.account, p.name, s.requested_by, c.name, COUNT(*),"
        f" SUM(COALESCE(s.charged_seconds, s.charged_so_far_seconds, {_CHARGED} * 60))"
        " FROM computeset s JOIN cluster c ON c.id = s.cluster_id LEFT JOIN project p ON p.id = s.project_id"
        f" WHERE s.ended_at IS NOT NULL AND {condition} GROUP BY s.account, p.name, s.requested_by, c.name"
        " ORDER BY s.account, p.name, s.requested_by, c.name",
        values,
    )
    return [
        Charge(account, project, user, name, sets, int(seconds))
        for account, project, user, name, sets, seconds in rows
    ]


def image_usage(session: Session, project_id: int) -> tuple[int, int]:
    """(how many, bytes) of the project's images, with those that are being uploaded."""
    return _image_usage(session, "project_id = %s", project_id)


def public_image_usage(session: Session, user_id: int) -> tuple[int, int]:
    """As `image_usage`, of everybody's images that a user has uploaded. Locks the user's row."""
    session.row("SELECT id FROM user WHERE id = %s FOR UPDATE", (user_id,))
    return _image_usage(session, "project_id IS NULL AND uploaded_by = %s", user_id)


def _image_usage(session: Session, condition: str, number: int) -> tuple[int, int]:
    row = session.row(f"SELECT COUNT(*), SUM(size_bytes) FROM image WHERE {condition}", (number,))
    count, size = row or (0, 0)
    return count, int(size or 0)
