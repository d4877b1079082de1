"""What a batch system does for computesets, whichever it is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

PENDING, RUNNING, ENDED = "pending", "running", "ended"


class Submission(NamedTuple):
    """A job of whole hosts, one for each node. Its name makes a repetition the same job."""

    name: str
    nodes: int
    walltime_minutes: int
    user: str
    account: str
    reservation: str | None
    hosts: tuple[str, ...] = ()
    """The hosts that it must have; empty: any."""


class BatchJob(NamedTuple):
    """A job as the batch system has it; `hosts` in its order, empty while it waits."""

    id: int
    name: str
    state: str
    hosts: tuple[str, ...]
    reason: str


class Batch(Protocol):
    """Every call can be repeated. HostError: the batch system cannot be reached."""

    keeps_walltime: bool
    """Whether the batch system ends a job at its walltime; otherwise the driver does."""

    def submit(self, submission: Submission) -> int:
        """The number of the job with that name, which is submitted unless it is known. UserError: it is rejected."""

    def cancel(self, jobid: int) -> None:
        """Cancel a job whose machines were never started."""

    def end(self, jobid: int) -> None:
        """End a job whose machines are off: its hosts are free."""

    def jobs(self) -> dict[str, BatchJob]:
        """Name → job: all that live, and those that ended of sets that live."""
