"""What projects use of the site now, for their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import placeholders
from nucleus.states import LIVING_SETS

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session


class Usage(NamedTuple):
    """Machines that are on or about to be, and what belongs to them."""

    vms: int
    cpus: int
    memory_mb: int
    disk_gb: int
    sets: int


def project_usage(session: Session, project_id: int) -> Usage:
    """Machines of the project that run, are in a living set, or have an unfinished start."""
    row = session.row(
        "SELECT COUNT(*), SUM(cpus), SUM(memory_mb), SUM(disk_gb) FROM node n JOIN cluster c ON c.id = n.cluster_id"
        " WHERE c.project_id = %s AND n.gone_at IS NULL AND (n.state IN ('active', 'paused', 'shutdown') OR EXISTS"
        " (SELECT 1 FROM computeset_node m WHERE m.node_id = n.id AND m.active = 1) OR EXISTS"
        " (SELECT 1 FROM operation o WHERE o.target_node = n.id AND o.kind = 'poweron'"
        " AND o.state IN ('queued', 'running')))",
        (project_id,),
    )
    sets = session.row(
        "SELECT COUNT(*) FROM computeset s JOIN cluster c ON c.id = s.cluster_id"
        f" WHERE c.project_id = %s AND s.state IN ({placeholders(LIVING_SETS)})",
        (project_id, *LIVING_SETS),
    )
    vms, cpus, memory, disk = (int(value or 0) for value in row or (0, 0, 0, 0))
    return Usage(vms, cpus, memory, disk, int(sets[0]) if sets else 0)


def committed_minutes(session: Session, account: str) -> int:
    """Node minutes that an allocation's sets have used, and that its living ones may use. Locks the allocation."""
    session.row("SELECT id FROM allocation WHERE name = %s FOR UPDATE", (account,))
    row = session.row(
        "SELECT SUM(node_count * IF(ended_at IS NULL, walltime_minutes,"
        " CEIL(IFNULL(TIMESTAMPDIFF(SECOND, start_time, ended_at), 0) / 60))) FROM computeset WHERE account = %s",
        (account,),
    )
    return int(row[0] or 0) if row else 0


def image_bytes(session: Session, project_id: int) -> int:
    """Bytes of the project's images, with those that are being uploaded."""
    row = session.row("SELECT SUM(size_bytes) FROM image WHERE project_id = %s", (project_id,))
    return int(row[0] or 0) if row else 0
