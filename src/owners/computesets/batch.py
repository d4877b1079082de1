"""What the controller of computesets asks of a batch system; a list of hosts, which is one; `slurm` is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from nucleus.mirror.hosts import listed_hosts
from nucleus.states import ENDED, OTHERS_FIRST, PENDING, TOO_FEW_HOSTS
from owners.computesets import hosts
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nucleus.mirror.pool import Pool, Session
    from nucleus.records import Account
    from owners.computesets.hosts import HostJob


class NewJob(NamedTuple):
    """Whole hosts for a walltime in minutes. `comment` is for operators; `account` '': the user's default one.

    `hosts`: those that it must have, if any; `excluded`: those that it must not have.
    """

    name: str
    host_count: int
    minutes: int
    account: str
    hosts: tuple[str, ...] = ()
    reservation: str | None = None
    comment: str = ""
    excluded: tuple[str, ...] = ()


HOSTS_CHECKED = "its hosts are checked"
"""It has its hosts, which admit it in a moment."""


class Job(NamedTuple):
    """A job as the batch system has it. `state`: PENDING, RUNNING, ENDED or UNKNOWN of `nucleus.states`.

    A job is known by its name: a scheduler that lost one may give its number to another. `reason`: of the end, as a
    computeset has it. `ends_at`: end of the walltime, in seconds since 1970, where the batch system counts it, as it
    does `starts_at`: an estimate of a job that waits. `waiting`: why it does, or why nothing is known,
    for owners; `place`: its number among the computesets that wait, from 1.
    """

    id: int
    name: str
    state: str
    hosts: tuple[str, ...] = ()
    reason: str = ""
    ends_at: float | None = None
    starts_at: float | None = None
    waiting: str = ""
    place: int | None = None


class Charge(NamedTuple):
    """Seconds of nodes; `is_final`: all jobs of the name have ended."""

    seconds: int
    is_final: bool


class Batch(Protocol):
    """Every call can be repeated. Each raises HostError while the batch system does not answer.

    The answers that stand here are those of a list of hosts, where Nucleus counts itself.
    """

    def submit(self, job: NewJob, may_exist: bool) -> int:
        """Submit a job; its number. `may_exist`: one that is there by that name is it.

        UserError, in words for owners, when the batch system will never run such a job.
        """

    def confirmed(self, job: Job) -> Job:
        """A job that runs, as it is after the batch system was kept from requeueing it."""
        return job

    def end(self, job: Job, is_complete: bool) -> None:
        """End a job: its hosts are free. `is_complete`: it has done its work, else it is cancelled."""

    def jobs(self, names: Collection[str]) -> list[Job]:
        """The jobs of computesets that live, or ended not long ago, and those of the names as far as known."""

    def nodes(self) -> dict[str, str]:
        """The hosts for computesets → why a host gets no jobs, else ''; none where Nucleus has a list of them."""
        return {}

    def charges(self, names: Collection[str]) -> dict[str, Charge]:
        """Name → what its jobs are charged, as far as they are accounted; none where Nucleus counts."""
        return {}

    def accounts(self, names: Collection[str]) -> dict[str, Account]:
        """Name → what is counted of the account; none where Nucleus counts."""
        return {}


# The batch system of sites without one: a list of hosts, whole hosts, first come, first served.


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
            known = listed_hosts(session, self._hosts)
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
        for number, chosen in allocations(listed_hosts(session, self._hosts), living).items():
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
