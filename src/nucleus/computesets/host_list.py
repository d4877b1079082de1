"""The batch system of sites without one: a list of hosts, whole hosts, first come, first served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.backends.batch import Batch, Job
from nucleus.mirror import hosts
from nucleus.states import ENDED, OTHERS_FIRST, PENDING, TOO_FEW_HOSTS
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nucleus.backends.batch import NewJob
    from nucleus.mirror.hosts import HostJob
    from nucleus.mirror.pool import Pool, Session


class HostList(Batch):
    """Every call can be repeated. `configured`: the hosts of the settings, in the order in which they are given out.

    What commands changed of them is read each time. A host that was removed keeps its job until that ends.
    """

    def __init__(self, pool: Pool, configured: Sequence[str]) -> None:
        self._pool = pool
        self._hosts = list(dict.fromkeys(configured))

    def submit(self, job: NewJob, may_exist: bool) -> int:
        """As `Batch.submit`: the job gets hosts if they are free. UserError for hosts that the list does not have."""
        with self._pool.transaction() as session:
            known = hosts.listed_hosts(session, self._hosts)
            if not set(job.hosts) <= set(known):
                raise UserError("this site does not have all the hosts that were chosen")
            if job.host_count > len(known):
                raise UserError(f"{job.host_count} nodes need as many hosts; this site has {len(known)}")
            number = hosts.add_job(session, job.name, job.host_count, job.hosts)
            self._schedule(session)
        return number

    def end(self, job: Job, is_complete: bool) -> None:
        """As `Batch.end`."""
        with self._pool.transaction() as session:
            hosts.end_job(session, job.id, "completed" if is_complete else "cancelled")
            self._schedule(session)

    def jobs(self, names: Collection[str]) -> list[Job]:
        """As `Batch.jobs`, after those that can have hosts have got them."""
        with self._pool.transaction() as session:
            self._schedule(session)
            found = [
                Job(one.id, one.name, one.state, one.hosts, one.reason) for one in hosts.recent_jobs(session)
            ]
        places = {one.id: place for place, one in enumerate((it for it in found if it.state == PENDING), 1)}
        waits = {one: TOO_FEW_HOSTS if place == 1 else OTHERS_FIRST for one, place in places.items()}
        return [one._replace(waiting=waits.get(one.id, ""), place=places.get(one.id)) for one in found]

    def _schedule(self, session: Session) -> None:
        living = hosts.living_jobs(session)  # first: it keeps the list as it is
        for number, chosen in allocations(hosts.listed_hosts(session, self._hosts), living).items():
            hosts.allocate(session, number, chosen)


def allocations(hosts: Sequence[str], jobs: Sequence[HostJob]) -> dict[int, list[str]]:
    """Pending job → the hosts that it gets now; pure. A job that must wait lets no later one pass.

    One that the list can never satisfy, since hosts were removed from it, does.
    """
    used = {host for job in jobs if job.state not in (PENDING, ENDED) for host in job.hosts}
    free = [host for host in hosts if host not in used]
    found: dict[int, list[str]] = {}
    for job in jobs:
        if job.state != PENDING or job.host_count > len(hosts) or not set(job.requested) <= set(hosts):
            continue
        chosen = list(job.requested) or free[: job.host_count]
        if len(chosen) < job.host_count or not set(chosen) <= set(free):
            break
        found[job.id] = chosen
        free = [host for host in free if host not in chosen]
    return found
