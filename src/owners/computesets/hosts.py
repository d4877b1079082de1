"""Physical hosts as `rocks` lists them and as the batch system names them, and jobs on those of an operator's list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from comet.client.hostlists import natural_key
from nucleus.mirror.columns import from_json, placeholders
from nucleus.mirror.hosts import listed_hosts
from nucleus.states import ENDED, HOSTS_AWAY, PENDING, RUNNING, SUBMITTED, TOO_FEW_HOSTS
from rocks.core.drain_reasons import OF_HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nucleus.mirror.pool import Session

LISTED, SCHEDULED = "is_listed", "is_scheduled"
"""By whom a host is known: `rocks`, the batch system."""


def record_hosts(session: Session, column: str, names: Iterable[str]) -> None:
    """Note the hosts that LISTED or SCHEDULED is true of now; of all others it is not."""
    found = set(names)
    if found == set(session.column(f"SELECT name FROM site_host WHERE {column}")):
        return
    session.execute(f"UPDATE site_host SET {column} = FALSE WHERE {column}")
    rows = [(name, True) for name in sorted(found)]
    session.insert_many(
        f"INSERT INTO site_host (name, {column}) VALUES", rows, f"ON DUPLICATE KEY UPDATE {column} = TRUE"
    )
    session.delete("site_host", is_listed=False, is_scheduled=False)


def nodes_without_host(session: Session) -> list[str]:
    """Nodes of the batch system that are no hosts of the cluster, by name; none before hosts were listed once."""
    return session.column(
        "SELECT name FROM site_host WHERE is_scheduled AND NOT is_listed"
        " AND EXISTS (SELECT 1 FROM site_host WHERE is_listed) ORDER BY name"
    )


def record_unavailable(session: Session, reasons: Mapping[str, str]) -> None:
    """Note the nodes to which the batch system gives no jobs now → its reason."""
    if reasons == dict(session.rows("SELECT name, unavailable FROM site_host WHERE unavailable IS NOT NULL")):
        return
    session.execute("UPDATE site_host SET unavailable = NULL WHERE unavailable IS NOT NULL")
    session.insert_many(
        "INSERT INTO site_host (name, unavailable) VALUES",
        sorted(reasons.items()),
        "ON DUPLICATE KEY UPDATE unavailable = VALUES(unavailable)",
    )


def unavailable_nodes(session: Session) -> list[tuple[str, str]]:
    """(node, the batch system's reason) of those without jobs that need an operator, by name.

    They do while a computeset waits for hosts, and always where a hook drained them: something is on them that nobody
    ordered. Any other node is down or drained without harm, perhaps for a planned service of weeks.
    """
    rows = session.rows(
        "SELECT name, unavailable FROM site_host WHERE unavailable IS NOT NULL"
        f" AND (unavailable IN ({placeholders(OF_HOOKS)})"
        " OR EXISTS (SELECT 1 FROM computeset WHERE state = %s AND waiting IN (%s, %s)))",
        (*OF_HOOKS, SUBMITTED, TOO_FEW_HOSTS, HOSTS_AWAY),
    )
    return sorted(rows, key=lambda row: natural_key(row[0]))


def change_list(session: Session, configured: Sequence[str], name: str, is_added: bool) -> None:
    """Add a host to the list, or remove it. What the settings say needs no record."""
    session.delete("batch_host", name=name)
    if (name in configured) != is_added:
        session.insert("batch_host", {"name": name, "is_added": is_added})


def is_unknown(session: Session, name: str) -> bool:
    """Whether `rocks` has listed hosts, and this one was not among them."""
    row = session.row("SELECT COUNT(*), SUM(name = %s) FROM site_host WHERE is_listed", (name,))
    return bool(row and row[0] and not row[1])


def spelled(session: Session, configured: Sequence[str], names: Iterable[str]) -> list[str]:
    """The hosts, each once, as the settings spell them, or else the list, or else `rocks`: names have no case."""
    listed = session.column("SELECT name FROM site_host WHERE is_listed")
    known = {one.casefold(): one for one in [*listed, *listed_hosts(session, configured), *configured]}
    return list(dict.fromkeys(known.get(name.casefold(), name) for name in names))


class HostJob(NamedTuple):
    """A job of whole hosts, one for each node of a computeset. Its name makes a repetition the same job.

    `requested`: the hosts that it must have, if any; `hosts`: those that it has, in order.
    """

    id: int
    name: str
    state: str
    host_count: int
    requested: tuple[str, ...]
    hosts: tuple[str, ...]
    reason: str


def add_job(session: Session, name: str, host_count: int, requested: Sequence[str]) -> int:
    """The job of that name, which is added unless it is there; its number."""
    columns = {"name": name, "host_count": host_count, "requested": list(requested)}
    session.insert("host_job", columns, "INSERT IGNORE")
    return int(session.value("SELECT id FROM host_job WHERE name = %s", (name,)))


def living_jobs(session: Session) -> list[HostJob]:
    """Jobs that have not ended, in the order in which they came; nobody else schedules until the transaction ends."""
    session.row("SELECT name FROM lease WHERE name = 'computesets' FOR UPDATE")
    return _jobs(session, "state <> 'ended'")


def recent_jobs(session: Session) -> list[HostJob]:
    """Living jobs, and those of sets that have not ended."""
    return _jobs(
        session,
        "state <> 'ended' OR name IN (SELECT s.name FROM computeset s WHERE s.state IN"
        " ('created', 'submitted', 'running', 'ending'))",
    )


def allocate(session: Session, number: int, hosts: Sequence[str]) -> None:
    """Give hosts to a pending job: it runs."""
    session.update("host_job", {"state": RUNNING, "hosts": list(hosts)}, id=number, state=PENDING)


def end_job(session: Session, number: int, reason: str) -> None:
    """End a job: its hosts are free."""
    columns = {"state": ENDED, "reason": reason}
    session.update("host_job", columns, id=number, state=[PENDING, RUNNING])


def _jobs(session: Session, condition: str) -> list[HostJob]:
    rows = session.rows(
        f"SELECT id, name, state, host_count, requested, hosts, reason FROM host_job WHERE {condition} ORDER BY id"
    )
    return [
        HostJob(number, name, state, count, tuple(from_json(requested)), tuple(from_json(hosts)), reason)
        for number, name, state, count, requested, hosts, reason in rows
    ]
