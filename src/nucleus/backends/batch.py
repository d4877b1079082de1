"""What the controller of computesets asks of a batch system: `computesets.host_list`, or `backends.slurm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

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
