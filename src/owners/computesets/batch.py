"""What the controller of computesets asks of a batch system; a list of hosts, which is one; `slurm` is another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from comet.client.hostlists import natural_key
from nucleus.mirror.columns import from_json, placeholders
from nucleus.mirror.hosts import listed_hosts
from nucleus.states import ENDED, HOSTS_AWAY, OTHERS_FIRST, PENDING, RUNNING, SUBMITTED, TOO_FEW_HOSTS
from rocks.core.drain_reasons import OF_HOOKS
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nucleus.mirror.pool import Pool, Session
    from nucleus.records import Account


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
"""The job has its hosts, which admit it in a moment."""


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


class Forecast(NamedTuple):
    """When a job would start, in seconds since 1970; None: that is not known. `waiting`: why not now, for owners."""

    starts_at: float | None
    waiting: str = ""


class Batch(Protocol):
    """Every call can be repeated. Each raises HostError while the batch system does not answer.

    The answers that stand here are those of a list of hosts, where Nucleus counts itself.
    """

    def submit(self, job: NewJob, may_exist: bool) -> int:
        """Submit a job; its number. `may_exist`: one that is there by that name is it.

        UserError, in words for owners, when the batch system will never run such a job.
        """

    def forecast(self, job: NewJob) -> Forecast:
        """When the job would start if it were submitted now, which it is not. UserError as of `submit`."""
        return Forecast(None)

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
            number = add_job(session, job.name, job.host_count, job.hosts)
            self._schedule(session)
        return number

    def forecast(self, job: NewJob) -> Forecast:
        """As `Batch.forecast`; of a job that must wait, nothing is known."""
        with self._pool.reading() as session:
            hosts, living = listed_hosts(session, self._hosts), _jobs(session, "state <> 'ended'")
        new = HostJob(-1, job.name, PENDING, job.host_count, job.hosts, (), "")
        if new.id in allocations(hosts, [*living, new]):
            return Forecast(time.time())
        return Forecast(None, OTHERS_FIRST if any(one.state == PENDING for one in living) else TOO_FEW_HOSTS)

    def end(self, job: Job, is_complete: bool) -> None:
        """As `Batch.end`."""
        with self._pool.transaction() as session:
            end_job(session, job.id, "completed" if is_complete else "cancelled")
            self._schedule(session)

    def jobs(self, names: Collection[str]) -> list[Job]:
        """As `Batch.jobs`, after those that can have hosts have got them."""
        with self._pool.transaction() as session:
            self._schedule(session)
            found = [Job(one.id, one.name, one.state, one.hosts, one.reason) for one in recent_jobs(session)]
        places = {one.id: place for place, one in enumerate((it for it in found if it.state == PENDING), 1)}
        waits = {one: TOO_FEW_HOSTS if place == 1 else OTHERS_FIRST for one, place in places.items()}
        return [one._replace(waiting=waits.get(one.id, ""), place=places.get(one.id)) for one in found]

    def _schedule(self, session: Session) -> None:
        living = living_jobs(session)  # first: it keeps the list as it is
        for number, chosen in allocations(listed_hosts(session, self._hosts), living).items():
            allocate(session, number, chosen)


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


# Physical hosts as `rocks` lists them and as the batch system names them, and jobs on those of an operator's list.


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
