"""Jobs on the hosts of an operator's list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nucleus.mirror.columns import from_json
from nucleus.states import ENDED, PENDING, RUNNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.pool import Session


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
