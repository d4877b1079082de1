"""`comet-condor`: the machines of a cluster's own HTCondor are computes, in computesets while jobs match them.

condor_rooster starts this program as its ROOSTER_WAKEUP_CMD, and cron each minute. What it gives on standard input is
not read: all offline machines that a job has matched are started together, in few computesets.

A compute that is off has an offline ad in the collector: it is made here, and the ad of its startd replaces it. A guest
must switch itself off after its startd has ended for want of jobs. A computeset ends when all of its computes are off.
Only computesets of the file `comet.json` in SPOOL are ended. Attributes and programs are those of HTCondor 23.9.6.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Optional

from comet.cli.batch_system import (
    BEFORE_END,
    Job,
    cluster_and_sets,
    ends_soon,
    for_each,
    one_line,
    output_of,
    reason_of_end,
    run,
    start,
)
from comet.client.client import Client
from comet.client.errors import CometError, UnreachableError, UsageError
from comet.client.files import replace_file
from comet.client.records import ClusterRecord, Computeset, Node

CONFIGURATION = "/etc/condor/comet.toml"
_AGAIN_SECONDS = 600
"""A machine that was refused is not tried again for so long; NEGOTIATOR_SLOT_CONSTRAINT keeps jobs from it."""
_MOST_SETS = 4
"""So many computesets for jobs of one length: each has its end, and 500 machines are not 500 computesets."""
_MOST_REFUSALS = 8
_UNKNOWN = 0
"""The number of a computeset that was asked for, until it is known."""

Started = dict[int, dict[str, bool]]
"""Number of a computeset that was started here → its computes, and whether the startd of each has reported since."""


class Ad(NamedTuple):
    """A slot of a machine in the collector. `is_matched`: it is offline, and a job would run there."""

    name: str
    address: str
    is_offline: bool
    is_matched: bool
    reason: str
    again_at: int


class Machine(NamedTuple):
    """The ads of a compute."""

    ads: tuple[Ad, ...] = ()

    @property
    def is_live(self) -> bool:
        return any(not ad.is_offline for ad in self.ads)

    @property
    def is_offline(self) -> bool:
        return bool(self.ads) and not self.is_live

    def needs_start(self, now: float) -> bool:
        """Whether it shall be started."""
        return self.is_offline and any(ad.is_matched and ad.again_at <= now for ad in self.ads)


def read_ads(text: str, matched: Iterable[str]) -> dict[str, Machine]:
    """Compute → its machine, of `condor_status -json`, and the names of slots that jobs have matched. Pure."""
    names, found = set(matched), dict[str, list[Ad]]()
    for it in json.loads(text.strip() or "[]"):
        name, again_at = str(it.get("Name", "")), it.get("CometAgainAt")
        ad = Ad(
            name, str(it.get("MyAddress", "")), it.get("Offline") is True, name in names,
            str(it.get("CometReason", "")), again_at if isinstance(again_at, int) else 0,
        )  # fmt: skip
        found.setdefault(str(it.get("Machine", "")).partition(".")[0].casefold(), []).append(ad)
    return {compute: Machine(tuple(ads)) for compute, ads in found.items()}


def read_jobs(text: str) -> list[Job]:
    """Jobs of `condor_q -json`, from the oldest. Pure."""
    found = sorted(json.loads(text.strip() or "[]"), key=_queued_at)
    return [Job(_minutes(it), str(it.get("AcctGroup", ""))) for it in found]


def _queued_at(job: dict[str, Any]) -> int:
    found = job.get("QDate")  # its owner can give it any value
    return found if isinstance(found, int) else 0


def _minutes(job: dict[str, Any]) -> Optional[int]:
    limits = [job.get(name) for name in ("AllowedJobDuration", "AllowedExecuteDuration")]
    seconds = [it for it in limits if isinstance(it, int) and it > 0]
    return -(-min(seconds) // 60) if seconds else None


def groups_of(names: Sequence[str], jobs: Sequence[Job]) -> list[tuple[list[str], Job]]:
    """The computes of each new computeset, and the longest job that it is for. Pure.

    Jobs of an account, of which none needs more than twice the hours of another, share computesets. HTCondor matches
    a machine anew when it is there, so it is not known which job runs on which.
    """
    shares: dict[tuple[str, int], list[tuple[str, Job]]] = {}
    for name, job in zip(names, jobs):
        shares.setdefault(_share(job), []).append((name, job))
    found = []
    for share in shares.values():
        longest = max((job for _, job in share), key=lambda job: job.minutes or 1 << 30)
        size = -(-len(share) // _MOST_SETS)
        chosen = [name for name, _ in share]
        found += [(chosen[at : at + size], longest) for at in range(0, len(chosen), size)]
    return found


def _share(job: Job) -> tuple[str, int]:
    """What is equal for jobs that share computesets: their account, and the power of two of their hours."""
    hours = 1 << 30 if job.minutes is None else -(-job.minutes // 60)
    return job.account, max(0, hours - 1).bit_length()


class Pool:
    """The HTCondor of this machine, by its programs. OSError or SubprocessError where they fail."""

    def __init__(self) -> None:
        names = ("COLLECTOR_NAME", "SPOOL", "ARCH", "OPSYS", "FILESYSTEM_DOMAIN", "UID_DOMAIN")
        self.cluster, spool, *values = self._run("condor_config_val", *names).splitlines()
        # without the domains, an ad matches no job that uses the files and accounts of the cluster
        self._common = dict(
            zip(("Arch", "OpSys", "FileSystemDomain", "UidDomain"), (f'"{it}"' for it in values))
        )
        self._file = Path(spool) / "comet.json"
        self._changed: dict[tuple[str, str], dict[str, str]] = {}
        self._offered: list[dict[str, str]] = []

    def machines(self) -> dict[str, Machine]:
        attributes = "Name,Machine,MyAddress,Offline,CometReason,CometAgainAt"
        text = self._run("condor_status", "-json", "-attributes", attributes)
        constraint = "Offline =?= true && Unhibernate =?= true"
        return read_ads(text, self._run("condor_status", "-constraint", constraint, "-af", "Name").split())

    def jobs(self) -> list[Job]:
        """Those that wait for a machine."""
        constraint = (
            "JobStatus == 1 && !member(JobUniverse, {7, 9, 12})"  # scheduler, grid and local have none
        )
        attributes = "QDate,AllowedJobDuration,AllowedExecuteDuration,AcctGroup"
        where = ("-allusers", "-constraint", constraint)
        return read_jobs(self._run("condor_q", *where, "-json", "-attributes", attributes))

    def started(self) -> Started:
        """Computesets that were started here. UsageError when the file is damaged."""
        try:
            stored = json.loads(self._file.read_text("utf-8"))
            return {int(number): dict(computes) for number, computes in stored.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:  # no JSON, or JSON of another form
            raise UsageError(
                f"{self._file} is damaged, so it is not known which computesets comet-condor has started ({error}): "
                f"remove it (rm {self._file}), and end those computesets yourself (comet computeset --state=active, "
                "comet terminate SET)"
            ) from error

    def keep(self, started: Started) -> None:
        replace_file(self._file, json.dumps(started), 0o644)

    def offer(self, compute: Node) -> None:
        """Have a compute that is off be advertised, until its startd is there."""
        self._offered.append(
            {
                "MyType": '"Machine"', "Name": f'"slot1@{compute.name}"', "Machine": f'"{compute.name}"',
                "Offline": "true", "Unhibernate": "MachineLastMatchTime =!= undefined",
                "Start": "true", "Requirements": "true", "Rank": "0.0", "State": '"Unclaimed"',
                "Activity": '"Idle"', "SlotID": "1", "SlotType": '"Partitionable"', "PartitionableSlot": "true",
                "Cpus": f"{compute.cpus or 1}", "Memory": f"{compute.memory or 1024}",
                "Disk": f"{(compute.disksize or 1) << 20}", "HasFileTransfer": "true", **self._common,
            }
        )  # fmt: skip

    def explain(self, machine: Machine, reason: str, is_over: bool = False, seconds: int = 0) -> None:
        """Have the ads of a machine state the reason why it does not run; condor_status prints it.

        `is_over`: the match with a job is forgotten, and jobs do not match it for so many seconds.
        """
        text = one_line(reason).replace("\\", "/").replace('"', "'")
        for ad in machine.ads:
            changed = {} if ad.reason == text else {"CometReason": f'"{text}"'}
            if is_over:
                changed["MachineLastMatchTime"] = "undefined"
                changed["CometAgainAt"] = str(int(time.time()) + seconds)
            if changed:
                noted = self._changed.setdefault((ad.name, ad.address), {})
                noted.update(
                    changed if text else {**changed, **noted}
                )  # an empty reason replaces none of this run

    def advertise(self) -> None:
        """Send what `offer` and `explain` were given."""
        ads = [
            {"MyType": '"Machine"', "Name": f'"{name}"', "MyAddress": f'"{address}"', **changed}
            for (name, address), changed in self._changed.items()
        ]
        for command, given in (("UPDATE_STARTD_AD", self._offered), ("MERGE_STARTD_AD", ads)):
            texts = ["".join(f"{name} = {value}\n" for name, value in ad.items()) for ad in given]
            if texts:
                self._run("condor_advertise", "-tcp", "-multiple", command, given="\n".join(texts))
            given.clear()
        self._changed.clear()

    _run = staticmethod(output_of)


def agree(client: Client, pool: Pool) -> None:
    """Start and end computesets until they agree with the pool's machines. The last error is raised at the end.

    A refusal is the reason in the ads of the machines that jobs have matched. While Nucleus is away, nothing changes.
    """
    started = pool.started()
    machines = pool.machines()
    _note_reports(started, machines)  # also while Nucleus is away: a machine may hibernate before it is back
    pool.keep(started)

    def refuse(reason: str) -> None:
        for machine in machines.values():
            if machine.needs_start(time.time()):
                pool.explain(machine, reason, is_over=True, seconds=_AGAIN_SECONDS)

    try:
        cluster, living = cluster_and_sets(client, pool.cluster, refuse)
        _Round(client, pool, started, cluster, living).agree()
    finally:
        pool.advertise()


def _note_reports(started: Started, machines: dict[str, Machine]) -> None:
    for computes in started.values():
        for name in computes:
            computes[name] |= machines.get(name.casefold(), Machine()).is_live


class _Round:
    """What a run has read, and does."""

    def __init__(
        self, client: Client, pool: Pool, started: Started, cluster: ClusterRecord, living: list[Computeset]
    ) -> None:
        self._client, self._pool, self._started = client, pool, started
        self._cluster, self._living = cluster, {it.id: it for it in living}
        self._machines, jobs, self._now = pool.machines(), pool.jobs(), time.time()
        # the group of a job is any text of its owner, who would have a computeset for each
        charged = cluster.allocations
        self._jobs = [it if it.account in charged else it._replace(account="") for it in jobs]

    def _machine(self, name: str) -> Machine:
        return self._machines.get(name.casefold(), Machine())

    def _needs_start(self, name: str) -> bool:
        return self._machine(name).needs_start(self._now)

    def agree(self) -> None:
        self._adopt()
        self._forget()
        for_each(self._living.values(), self._follow)
        taken = {it.name for one in self._living.values() for it in one.computes}
        free = [it for it in self._cluster.computes if it.name not in taken]
        for compute in free:
            self._offer(compute)
        needed = [it.name for it in free if self._needs_start(it.name)]
        booting = sum(not has_reported for it in self._started.values() for has_reported in it.values())
        self._start_for(needed, self._jobs[booting:])  # those before them have matched the machines that boot

    def _adopt(self) -> None:
        """Find the computeset that a killed run has asked for."""
        expected = self._started.pop(_UNKNOWN, None)
        for one in self._living.values():
            if expected is not None and {it.name for it in one.computes} == set(expected):
                self._started[one.id] = expected

    def _forget(self) -> None:
        """Have the end of a computeset be the reason of its machines that never reported."""
        for number in [it for it in self._started if it not in self._living]:
            lost = [name for name, has_reported in self._started.pop(number).items() if not has_reported]
            reason = reason_of_end(self._client, number) if lost else ""
            for name in lost:
                self._pool.explain(self._machine(name), reason, is_over=True)
        self._pool.keep(self._started)

    def _follow(self, one: Computeset) -> None:
        """What a computeset that was started here needs."""
        reported = self._started.get(one.id)
        if reported is None or one.merged or one.state not in BEFORE_END:
            return  # where it is merged, its end would end other nodes, too: its owner has merged it, and ends it
        # off after it ran, or could not be started
        idle = [it for it in one.computes if it.power == "off" and (reported.get(it.name) or one.degraded)]
        if len(idle) == len(one.computes) or (one.state != "running" and not self._jobs):
            self._client.terminate(one.id)  # the jobs were removed while it waited for hosts, or are done
            return
        for compute in idle:
            self._offer(compute)
            if self._needs_start(compute.name) and not ends_soon(one, self._client.connection.now()):
                self._client.power(one.cluster, "on", [compute.name])
                reported[compute.name] = False
                self._pool.keep(self._started)
        for name in [name for name, has_reported in reported.items() if not has_reported]:
            waiting = f": {one.waiting}" if one.waiting else ""
            self._pool.explain(self._machine(name), f"computeset {one.id} is {one.state}{waiting}")

    def _offer(self, compute: Node) -> None:
        """Have jobs match a compute that is off, and forget a match whose jobs were removed."""
        machine = self._machine(compute.name)
        if not machine.ads:
            self._pool.offer(compute)
        elif self._needs_start(compute.name) and not self._jobs:
            self._pool.explain(machine, "", is_over=True)
        elif any(ad.again_at > self._now + _AGAIN_SECONDS for ad in machine.ads):
            self._pool.explain(machine, "", is_over=True)  # the clock was ahead then

    def _start_for(self, names: Sequence[str], jobs: Sequence[Job]) -> None:
        """Start computes for the jobs that came last. Where these are refused, other ones get the computes.

        The reason may be the account or the length of a job, and would keep the computes from all others.
        """
        refused: dict[str, CometError] = {}
        trouble: Optional[CometError] = None
        while names and jobs:
            count, refused = min(len(names), len(jobs)), {}
            groups = groups_of(names[:count], jobs[-count:])
            for chosen, job in groups:
                refused |= self._start(chosen, job)
            shares = {_share(job) for chosen, job in groups if refused.keys() & set(chosen)}
            names, jobs = list(refused), [it for it in jobs[:-count] if _share(it) not in shares]
            trouble = next(reversed(refused.values()), trouble)
        for name, error in refused.items():
            self._pool.explain(self._machine(name), str(error), is_over=True, seconds=_AGAIN_SECONDS)
        if trouble is not None:
            raise trouble

    def _start(self, names: Sequence[str], job: Job) -> dict[str, CometError]:
        """Start a computeset; where that is refused, one for each half, as the reason may be one of the nodes.

        Returns the computes that are refused, with the reasons.
        """
        parts, refusals, refused = [names], 0, dict[str, CometError]()
        for part in parts:
            self._started[_UNKNOWN] = dict.fromkeys(part, False)
            self._pool.keep(self._started)
            try:
                number = start(self._client, self._cluster, part, job)
            except CometError as error:
                if isinstance(error, UnreachableError):
                    raise  # it may be started: the next run looks for it
                del self._started[_UNKNOWN]
                refusals += 1
                if len(part) > 1 and refusals < _MOST_REFUSALS:
                    parts += [part[: len(part) // 2], part[len(part) // 2 :]]
                else:
                    refused.update(dict.fromkeys(part, error))
            else:
                self._started[number] = self._started.pop(_UNKNOWN)
                for name in part:
                    self._pool.explain(self._machine(name), f"computeset {number} is created")
        self._pool.keep(self._started)
        return refused


def program() -> NoReturn:
    """`comet-condor`."""
    run("comet-condor", CONFIGURATION, lambda client: agree(client, Pool()))
