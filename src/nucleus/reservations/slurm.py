"""An interval of this site as a reservation of Slurm: whole nodes of the partition, for the service's user.

Slurm lets operators alone create reservations: `sacctmgr modify user nucleus set adminlevel=operator`. Seen with
22.05.8: to others it says "Invalid user id"; and of more nodes than are free it reserves those that are, and calls it
done. So what it has reserved is read again.

From the begin on, a job of the service has these nodes: so it waits until they are free of what overruns its walltime,
Slurm's hooks know why a host has machines, and after the end the epilog keeps the host until these are off. A mark on
the hosts would do the second alone. Slurm deletes no reservation with a job that runs, and ends the job with it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from nucleus.backends.batch import NewJob
from nucleus.backends.slurm import Slurm, is_away, message_of
from nucleus.states import PENDING, RUNNING
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.process import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.backends.batch import Job
    from nucleus.configuration import BatchSettings
    from nucleus.reservations.rules import Span
    from rocks.core.process import Finished

_NAME = re.compile(r"^ReservationName=nucleus-([0-9]{1,10}) ")
_JOB = re.compile(r"nucleus-([0-9]{1,10})")
_USERS = re.compile(r" Users=(\S+) ")
_NODES = re.compile(r" NodeCnt=([0-9]+) ")
_BOOT_TIME = re.compile(r"^BOOT_TIME *= (\S+)", re.MULTILINE)
_MISSING = ("not found", "Requested reservation is invalid", "No reservations")
_IN_USE = "reservation is in use"
_NOT_FREE = ("busy", "not available", "overlap")
"""Parts of Slurm's texts, as `Requested nodes are busy`, when its hosts are not free at that time."""

_ADVICE = "run `scontrol ping`, and look whether `sacctmgr show user` has the service's user as an Operator"


class SlurmReservations:
    """Those of this service: they are called by the number of their interval, and have its user."""

    def __init__(self, settings: BatchSettings, command_seconds: float = 10.0) -> None:
        self._partition, self._user = settings.partition, settings.user
        self._seconds = command_seconds
        self._jobs = Slurm(settings, command_seconds, _JOB)

    def create(self, number: int, span: Span, cpus: int) -> None:
        """Reserve whole nodes with so many CPUs at least. StateError, in words for owners, when they are not free."""
        requested = self._node_count(cpus)
        finished = self._run(
            "scontrol", "create", "reservation", f"reservationname=nucleus-{number}",
            f"starttime={span.begin:%Y-%m-%dT%H:%M:%S}", f"endtime={span.end:%Y-%m-%dT%H:%M:%S}",
            f"users={self._user}", f"partition={self._partition}", f"nodecnt={requested}",
        )  # fmt: skip
        if finished.exit_status:
            message = message_of(finished)
            if is_away(message) or not any(part in message for part in _NOT_FREE):
                raise HostError(f"scontrol failed: {message}; {_ADVICE}")
            raise _too_few(span)
        if self._size(number) < requested:
            self.delete(number)
            raise _too_few(span)

    def delete(self, number: int) -> None:
        """End a reservation; one that is not there has ended. One with a job stays until that has ended."""
        self._asked("scontrol", "delete", f"reservationname=nucleus-{number}", passes=(*_MISSING, _IN_USE))

    def hold(self, number: int, seconds: int, comment: str) -> Job | None:
        """Have a job take all nodes of a reservation for so many seconds: the job, which may wait for them.

        None without the reservation. UserError when Slurm refuses the job. It can be repeated.
        """
        count, name = self._size(number), f"nucleus-{number}"
        if not count:
            return None
        # a minute passes the limits of partition and account; those of a job that runs are an operator's
        new = NewJob(name, count, 1, "", reservation=name, comment=comment)
        self._jobs.submit(new, may_exist=True)
        job = self.held().get(number)
        if job is None or job.state != RUNNING:
            return job
        again = self._jobs.confirmed(job, f"endtime=now+{seconds}")
        return again if again.state == RUNNING else None

    def held(self) -> dict[int, Job]:
        """Interval → its job that waits or runs."""
        jobs = [one for one in self._jobs.jobs(()) if one.state in (PENDING, RUNNING)]
        return {int(one.name.removeprefix("nucleus-")): one for one in jobs}

    def release(self, job: Job) -> None:
        """End the job of an interval, whose machines are off."""
        self._jobs.end(job, is_complete=True)

    def numbers(self) -> set[int]:
        """The intervals that Slurm has reserved."""
        lines = self._asked("scontrol", "--oneliner", "show", "reservation").splitlines()
        ours = [
            line for line in lines if (users := _USERS.search(line)) and self._user in users[1].split(",")
        ]
        return {int(found[1]) for line in ours if (found := _NAME.match(line))}

    def begun(self) -> str:
        """When this slurmctld was started, as it writes it: one that was started anew may have lost its state."""
        found = _BOOT_TIME.search(self._asked("scontrol", "show", "config"))
        return found[1] if found else ""

    def _node_count(self, cpus: int) -> int:
        """How many of the partition's nodes have so many CPUs, whichever they are."""
        text = self._asked("sinfo", "--noheader", "--Node", f"--partition={self._partition}", "--format=%c")
        counts = [int(one) for one in text.split() if one.isdigit() and int(one)]
        if not counts:
            raise HostError(f"sinfo has no nodes of the partition {self._partition}; {_ADVICE}")
        return -(-cpus // min(counts))

    def _size(self, number: int) -> int:
        """How many nodes a reservation has; 0 when there is none."""
        show = ("scontrol", "--oneliner", "show", "reservation", f"nucleus-{number}")
        found = _NODES.search(self._asked(*show, passes=_MISSING))
        return int(found[1]) if found else 0

    def _asked(self, *arguments: str, passes: Sequence[str] = ()) -> str:
        """What a program prints; `passes`: parts of the errors that are none."""
        finished = self._run(*arguments)
        if finished.exit_status and not any(part in message_of(finished) for part in passes):
            raise HostError(f"{arguments[0]} failed: {message_of(finished)}; {_ADVICE}")
        return finished.text

    def _run(self, *arguments: str) -> Finished:
        try:  # the times of scontrol have no zone: they are those of its process
            return run(arguments, deadline_seconds=self._seconds, environment={**os.environ, "TZ": "UTC"})
        except ToolError as error:
            raise HostError(f"{error}; {_ADVICE}") from None


def _too_few(span: Span) -> StateError:
    return StateError(
        f"this site's scheduler has not enough free hosts from {span.begin:%Y-%m-%d %H:%M} to {span.end:%H:%M} UTC;"
        " choose another time or fewer CPUs"
    )
