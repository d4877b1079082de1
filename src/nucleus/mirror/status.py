"""Numbers about the service itself, for those who watch over it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import oldest_ulid, placeholders, visible
from nucleus.mirror.computesets import late_charges, late_sets, nodes_without_job
from nucleus.mirror.hosts import nodes_without_host, unavailable_nodes, unknown_machines
from nucleus.mirror.observations import SCHEDULER, read_sources
from nucleus.mirror.pool import lock_name
from nucleus.records import Account, Scope
from nucleus.states import LIVING_SETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session


def oldest_poll_seconds(session: Session, now: datetime) -> float | None:
    """Age of the oldest newest answer of the poller's sources; None when one that matters has never answered."""
    row = session.row(
        "SELECT MIN(observed), SUM(observed IS NULL) FROM source WHERE name NOT IN ('storagemap', 'image', %s)",
        (SCHEDULER,),
    )
    if row is None or row[0] is None or row[1]:
        return None
    age: float = (now - row[0]).total_seconds()
    return age


PARTS = ("poller", "computesets", "reservations")
"""Parts of the service of which each has a `Guard` of its name while it is at work."""


def idle_parts(session: Session) -> list[str]:
    """Those of `PARTS` that no process does: the server frees the lock of one that ends, however it does."""
    return [
        name
        for name in PARTS
        if session.value("SELECT IS_FREE_LOCK(%s)", (lock_name(session.settings, name),))
    ]


def machines_of_hosts(
    session: Session, hosts: Sequence[str]
) -> list[tuple[str, str, str, str | None, int | None]]:
    """(host, cluster, name, state, living computeset) of every machine that these hosts have."""
    return session.rows(
        "SELECT n.physical_host, c.name, n.name, n.state, s.computeset_id FROM node n"
        " JOIN cluster c ON c.id = n.cluster_id LEFT JOIN computeset_node s ON s.node_id = n.id AND s.active = 1"
        f" WHERE n.physical_host IN ({placeholders(hosts)}) AND n.gone_at IS NULL ORDER BY c.name, n.name",
        list(hosts),
    )


def gauges(session: Session, now: datetime) -> dict[str, dict[tuple[str, ...], float]]:
    """Gauge → labels → value."""
    sources = read_sources(session)
    syncing = "SELECT COUNT(*) FROM node WHERE image_state IN ('NAS->VM', 'NAS<-VM') AND gone_at IS NULL"
    return {
        "operations": _by_state(session, "operation"),
        "operation_seconds": _lately(session),
        "operation_errors": _errors(session),
        "computesets": _by_state(session, "computeset"),
        "images_syncing": {(): float(session.value(syncing))},
        "alarms": {
            ("vm-on-without-job",): float(len(nodes_without_job(session))),
            ("image-sync-timeout",): float(len(late_sets(session))),
            ("node-without-host",): float(len(nodes_without_host(session))),
            ("node-unavailable",): float(len(unavailable_nodes(session))),
            ("computeset-without-charge",): float(len(late_charges(session))),
            ("machine-without-state",): float(sum(count for _, count in unknown_machines(session))),
            ("part-not-running",): float(len(idle_parts(session))),
        },
        "poll_age_seconds": {
            (one.name,): (now - one.observed).total_seconds() for one in sources if one.observed is not None
        },
        "poll_failures": {(one.name,): float(one.failures) for one in sources},
        "poll_seconds": {(one.name,): one.duration_seconds for one in sources},
    }


def _by_state(session: Session, table: str) -> dict[tuple[str, ...], float]:
    rows = session.rows(f"SELECT state, COUNT(*) FROM {table} GROUP BY state")
    return {(state,): float(count) for state, count in rows}


def _lately(session: Session) -> dict[tuple[str, ...], float]:
    """Kind → mean seconds from begin to end of the operations that were asked for within an hour."""
    rows = session.rows(
        "SELECT kind, AVG(TIMESTAMPDIFF(MICROSECOND, IFNULL(started, created), ended)) / 1e6 FROM operation"
        " WHERE id > %s AND ended IS NOT NULL AND state <> 'cancelled' GROUP BY kind",
        (oldest_ulid(3600),),
    )
    return {(kind,): float(seconds) for kind, seconds in rows}


def _errors(session: Session) -> dict[tuple[str, ...], float]:
    """(kind, family of the error) → how many operations that were asked for within an hour have failed, or try again.

    `host`: a host, or the executor, did not answer; `tool`: `rocks` failed.
    """
    rows = session.rows(
        "SELECT kind, JSON_VALUE(error, '$.code'), COUNT(*) FROM operation"
        " WHERE id > %s AND error IS NOT NULL AND state <> 'cancelled' GROUP BY 1, 2",
        (oldest_ulid(3600),),
    )
    return {(kind, family): float(count) for kind, family, count in rows}


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
