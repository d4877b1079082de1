"""The batch system of sites without one: a list of hosts, whole hosts, first come, first served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import host_jobs
from nucleus.mirror.host_jobs import ENDED, PENDING
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.mirror.host_jobs import HostJob
    from nucleus.mirror.pool import Pool, Session


class HostList:
    """Every call can be repeated. `hosts` are the operator's, in the order in which they are given out."""

    def __init__(self, pool: Pool, hosts: Sequence[str]) -> None:
        self._pool = pool
        self._hosts = list(dict.fromkeys(hosts))

    def submit(self, name: str, count: int, hosts: Sequence[str]) -> int:
        """Add the job of so many hosts, of these if any are named, and give it hosts if they are free; its number.

        A job of that name that is there is the same one. UserError for hosts that the list does not have.
        """
        unknown = [host for host in hosts if host not in self._hosts]
        if unknown:
            raise UserError(
                f"{unknown[0]} is not in the list of hosts ([batch] hosts in the settings of Nucleus)"
            )
        if count > len(self._hosts):
            raise UserError(
                f"{count} nodes need as many hosts, and the list ([batch] hosts) has {len(self._hosts)}"
            )
        with self._pool.transaction() as session:
            number = host_jobs.add_job(session, name, count, hosts)
            self._schedule(session)
        return number

    def end(self, jobid: int, reason: str) -> None:
        """End a job: its hosts are free."""
        with self._pool.transaction() as session:
            host_jobs.end_job(session, jobid, reason)
            self._schedule(session)

    def jobs(self) -> dict[str, HostJob]:
        """Name → job, of all that live, and of sets that live, after those that can have hosts have got them."""
        with self._pool.transaction() as session:
            self._schedule(session)
            return {one.name: one for one in host_jobs.recent_jobs(session)}

    def _schedule(self, session: Session) -> None:
        for number, hosts in allocations(self._hosts, host_jobs.living_jobs(session)).items():
            host_jobs.allocate(session, number, hosts)


def allocations(hosts: Sequence[str], jobs: Sequence[HostJob]) -> dict[int, list[str]]:
    """Pending job → the hosts that it gets now; pure. A job that must wait lets no later one pass."""
    used = {host for job in jobs if job.state not in (PENDING, ENDED) for host in job.hosts}
    free = [host for host in hosts if host not in used]
    found: dict[int, list[str]] = {}
    for job in jobs:
        if job.state != PENDING:
            continue
        chosen = list(job.requested) or free[: job.host_count]
        if len(chosen) < job.host_count or not set(chosen) <= set(free):
            break
        found[job.id] = chosen
        free = [host for host in free if host not in chosen]
    return found
