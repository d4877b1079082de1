"""An interval of this site as a reservation of Slurm: whole nodes of the partition, for the service's user.

Slurm lets operators alone create reservations: `sacctmgr modify user nucleus set adminlevel=operator`. Seen with
22.05.8: to others it says "Invalid user id"; and of more nodes than are free it reserves those that are, and calls it
done. So what it has reserved is read again.

From the begin on, a job of the service has these nodes: so it waits until they are free of what overruns its walltime,
Slurm's hooks know why a host has machines, and after the end the epilog keeps the host until these are off. A mark on
the hosts would do the second alone. Slurm deletes no reservation with a job that runs, and ends the job with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nucleus.states import PENDING, RUNNING
from owners.computesets.batch import NewJob
from owners.computesets.slurm import Slurm, is_away
from owners.reservations import records
from owners.reservations.rules import Span, first_conflict
from rocks.core.errors import HostError, RocksError, StateError
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nucleus.configuration import BatchSettings
    from nucleus.mirror.pool import Session
    from owners.computesets.batch import Job
    from owners.reservations.records import Reservation, Site


_NAME = re.compile(r"^ReservationName=nucleus-([0-9]{1,10}) ")
_JOB = re.compile(r"nucleus-([0-9]{1,10})")
_USERS = re.compile(r" Users=(\S+) ")
_NODES = re.compile(r" NodeCnt=([0-9]+) ")
_BOOT_TIME = re.compile(r"^BOOT_TIME *= (\S+)", re.MULTILINE)
_MISSING = ("not found", "Requested reservation is invalid")
_IN_USE = "reservation is in use"
_NOT_FREE = ("busy", "not available", "overlap")
"""Parts of Slurm's texts, as `Requested nodes are busy`, when its hosts are not free at that time."""

_ADVICE = "run `scontrol ping`, and look whether `sacctmgr show user` has the service's user as an Operator"


class SlurmReservations:
    """Those of this service: they are called by the number of their interval, and have its user."""

    def __init__(self, settings: BatchSettings, command_seconds: float = 10.0) -> None:
        self._partition, self._user = settings.partition, settings.user
        self._slurm = Slurm(settings, command_seconds, _JOB, _ADVICE)

    def create(self, spans: Mapping[int, Span], cpus: int) -> None:
        """Reserve whole nodes with so many CPUs at least, for each interval, or for none.

        StateError, in words for owners, when they are not free. Three programs are run for any number of intervals.
        """
        requested = self._node_count(cpus)
        lines = [
            f"create reservation reservationname=nucleus-{number} starttime={span.begin:%Y-%m-%dT%H:%M:%S}"
            f" endtime={span.end:%Y-%m-%dT%H:%M:%S} users={self._user} partition={self._partition} nodecnt={requested}"
            for number, span in spans.items()
        ]
        try:
            self._each(lines, _NOT_FREE)
            reserved = self._reserved()
            for number, span in spans.items():
                if reserved.get(number, 0) < requested:
                    raise StateError(
                        f"this site's scheduler has not enough free hosts from {span.begin:%Y-%m-%d %H:%M} to"
                        f" {span.end:%H:%M} UTC; choose another time or fewer CPUs"
                    )
        except RocksError:
            self.delete(spans)
            raise

    def delete(self, numbers: Collection[int]) -> None:
        """End reservations; one that is not there has ended. One with a job stays until that has ended."""
        if numbers:
            self._each(
                [f"delete reservationname=nucleus-{number}" for number in numbers], (*_MISSING, _IN_USE)
            )

    def hold(self, number: int, seconds: int, comment: str) -> Job | None:
        """Have a job take all nodes of a reservation for so many seconds: the job, which may wait for them.

        None without the reservation. UserError when Slurm refuses the job. It can be repeated.
        """
        count, name = self._reserved().get(number, 0), f"nucleus-{number}"
        if not count:
            return None
        # a minute passes the limits of partition and account; those of a job that runs are an operator's
        new = NewJob(name, count, 1, "", reservation=name, comment=comment)
        self._slurm.submit(new, may_exist=True)
        job = self.held().get(number)
        if job is None or job.state != RUNNING:
            return job
        again = self._slurm.confirmed(job, f"endtime=now+{seconds}")
        return again if again.state == RUNNING else None

    def held(self) -> dict[int, Job]:
        """Interval → its job that waits or runs."""
        jobs = [one for one in self._slurm.jobs(()) if one.state in (PENDING, RUNNING)]
        return {int(one.name.removeprefix("nucleus-")): one for one in jobs}

    def release(self, job: Job) -> None:
        """End the job of an interval, whose machines are off."""
        self._slurm.end(job, is_complete=True)

    def numbers(self) -> set[int]:
        """The intervals that Slurm has reserved."""
        return set(self._reserved())

    def begun(self) -> str:
        """When this slurmctld was started, as it writes it: one that was started anew may have lost its state."""
        found = _BOOT_TIME.search(self._slurm.asked("scontrol", "show", "config"))
        return found[1] if found else ""

    def _node_count(self, cpus: int) -> int:
        """How many of the partition's nodes have so many CPUs, whichever they are."""
        text = self._slurm.asked(
            "sinfo", "--noheader", "--Node", f"--partition={self._partition}", "--format=%c"
        )
        counts = [int(one) for one in text.split() if one.isdigit() and int(one)]
        if not counts:
            raise HostError(f"sinfo has no nodes of the partition {self._partition}; {_ADVICE}")
        return -(-cpus // min(counts))

    def _reserved(self) -> dict[int, int]:
        """Interval → how many nodes Slurm has reserved for it."""
        arguments = ("--oneliner", "show", "reservation")
        lines = self._slurm.asked("scontrol", *arguments, passes=("No reservations",)).splitlines()
        return {
            int(name[1]): int(nodes[1])
            for line in lines
            if (name := _NAME.match(line)) and (nodes := _NODES.search(line))
            if (users := _USERS.search(line)) and self._user in users[1].split(",")
        }

    def _each(self, lines: Sequence[str], passes: Sequence[str]) -> None:
        """Have one program do all lines. HostError for the first error that is none of `passes`."""
        finished = self._slurm.run("scontrol", standard_input="".join(f"{line}\n" for line in lines).encode())
        for line in finished.error_text.splitlines():
            if is_away(line) or not any(part in line for part in passes):
                raise HostError(f"scontrol failed: {one_line(line)[:200]}; {_ADVICE}")


# Makes and cancels reservations, in a transaction of the caller's.


def scheduler_of(login: str | None, batch: BatchSettings) -> SlurmReservations | None:
    """What keeps the reservations of the site with this login; None where Nucleus alone does."""
    return SlurmReservations(batch) if login is None and batch.kind == "slurm" else None


def reserve(
    session: Session, site: Site, spans: Sequence[Span], columns: dict[str, Any], batch: BatchSettings
) -> int:
    """Store a reservation of a site that is locked, and have its scheduler reserve each interval; its number.

    StateError, in words for owners, for a site without room in one of the intervals: then nothing is reserved.
    """
    whole = Span(spans[0].begin, spans[-1].end)
    requested = columns["cpus"], columns["memory_gb"]
    conflict = first_conflict(
        (site.cpus, site.memory_gb), records.shares_of(session, site.id, whole), spans, requested
    )
    if conflict is not None:
        span, cpus, memory_gb = conflict
        raise StateError(
            f"{site.name} has {cpus} CPUs and {memory_gb} GB left from {span.begin:%Y-%m-%d %H:%M} to {span.end:%H:%M}"
            f" UTC, and {requested[0]} CPUs and {requested[1]} GB were asked for; choose another time, or less"
        )
    number, intervals = records.insert_reservation(session, {**columns, "site_id": site.id}, spans)
    scheduler = scheduler_of(site.login, batch)
    if scheduler is not None:
        # what a death leaves, the next round of the controller ends
        scheduler.create(intervals, requested[0])
    return number


def cancel(session: Session, site: Site, one: Reservation, actor: str) -> list[int]:
    """Cancel what is left of a reservation. What runs is stopped, and keeps its place until then.

    Its owner reads when it was another one, `actor`, who cancelled it. The intervals that this site's scheduler is to
    end after the commit; those that it does not end then, the next round of the controller ends.
    """
    reason = None if actor == one.owner else "cancelled by the site's administrators"
    waiting = records.cancel(session, one.id, reason)
    return waiting if site.login is None else []
