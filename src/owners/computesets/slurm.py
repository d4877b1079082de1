"""The batch system of sites with Slurm, by its programs; seen with Slurm 22.05.8.

One job of whole hosts for each computeset, submitted by the service's own user. Its script only holds the hosts: it
ignores TERM, and ends with success on USR2, when machines are off and images written back. Past the walltime it goes on
for the partition's OverTimeLimit. slurmrestd was refused: it needs a token of each user; so was `--json`, whose fields
change with the release.
"""

from __future__ import annotations

import logging
import os
import pwd
import re
from typing import TYPE_CHECKING, NamedTuple

from nucleus.hostlists import expand
from nucleus.records import Account
from nucleus.states import ENDED, HOSTS_AWAY, OTHERS_FIRST, PENDING, RUNNING, TOO_FEW_HOSTS, UNKNOWN
from owners.computesets.batch import HOSTS_CHECKED, Charge, Forecast, Job
from owners.computesets.lifecycle import LIMIT, LOST, NODE, OPERATOR, PREEMPTED, TIMEOUT
from rocks.core.errors import HostError, ToolError, UserError
from rocks.core.names import printable
from rocks.core.process import run, run_checked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nucleus.configuration import BatchSettings
    from owners.computesets.batch import NewJob
    from owners.computesets.records import Computeset
    from rocks.core.process import Finished


_LOG = logging.getLogger(__name__)

_SCRIPT = b"""#!/bin/sh
trap 'kill $!; exit 0' USR2
trap : TERM
while :; do sleep 3600 & wait $!; kill $! 2>/dev/null; done
"""

RESERVATIONS = "nucleus-"
"""How the names of the reservations begin that this service's user has: they are of no computeset."""

_NAME = re.compile(r"VC-JOB-\d+-[0-9a-z]+")
_NUMBER = re.compile(r"(\d+)(?:;[^\n]*)?\n?")
_ERROR = re.compile(r"error: (?:Batch job submission failed: )?(.+)")

_START = re.compile(r"Job \d+ to start at (\d+) ")
"""What `sbatch --test-only` prints."""

_PARENT = re.compile(r" ParentAccount=([^\s(]+)\(")

_STATES = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"), PENDING),
    **dict.fromkeys(("RUNNING", "RESIZING", "SUSPENDED", "STOPPED", "SIGNALING"), RUNNING),
}  # fmt: skip
_REASONS = {
    "CANCELLED": OPERATOR,
    "PREEMPTED": PREEMPTED,
    "NODE_FAIL": NODE,
    "BOOT_FAIL": NODE,
    "TIMEOUT": TIMEOUT,
    "DEADLINE": TIMEOUT,
    **dict.fromkeys(("COMPLETED", "FAILED", "OUT_OF_MEMORY", "REVOKED"), LOST),
}
"""State of a job that has ended → reason of the end of its computeset; `limit` where Slurm names a limit."""

_COMPLETING = "COMPLETING"
_INVALID = "inval"
"""A node with less than slurm.conf states of it. Slurm refuses to resume it."""

_UNAVAILABLE = ("down", "drain", "fail", _INVALID)
"""How the state of a node begins that gets no jobs until it answers, or somebody corrects or resumes it."""

_AWAY = (
    "Unable to contact", "Socket timed out", "Zero Bytes", "Connection", "standby", "temporarily", "Protocol",
    "authentication", "munge", "communication", "Insane message", "Invalid job credential", "resolve",
)  # fmt: skip
"""In messages of a controller that does not answer now: what it was asked is repeated."""

_REFUSALS = {
    "Invalid account": "this site's scheduler does not know this allocation",
    "time limit": "the walltime is longer than this site's scheduler permits",
    "Node count": "this site has fewer hosts for computesets",
    "node configuration": "this site has no such hosts for computesets",
    "node name": "this site has no such hosts for computesets",
    "reservation": "there is no such reservation for this allocation",
    "policy": "the limits of this allocation do not permit it",
}
"""In messages of sbatch → the refusal in words for owners, at most 64 characters."""


_WAITS = {
    "AssocGrpNodeMinutes": "{account} has no node hours left for it",
    "Assoc": "a limit of {account} is reached",
    "QOS": "a limit of {account} is reached",
    "Resources": TOO_FEW_HOSTS,
    "Priority": OTHERS_FIRST,
    "BeginTime": "a host was not ready; it is tried again in some minutes",
    "Prolog": HOSTS_CHECKED,
    "Dependency": "its former job has not ended",
    "ReservationDeleted": "its reservation was removed; end it",
    "Reservation": "its reservation has not begun, or has no free hosts",
    "JobHeld": "the site's operators hold it",
    "ReqNodeNotAvail": HOSTS_AWAY,
    "Node": HOSTS_AWAY,
    "Partition": "the site runs no computesets at present",
    "None": "the site's scheduler has not looked at it yet",
}
"""How a reason of squeue begins → why a job waits, in words for owners; the first one counts."""
_WAITS_ELSE = "the site's scheduler has not placed it"


class Slurm:
    """The jobs of this process's user in a partition; that user needs an association with each account.

    `names`: those of its jobs; others of this user are left alone. `advice`: of errors, for operators.
    """

    def __init__(
        self,
        settings: BatchSettings,
        command_seconds: float = 10.0,
        names: re.Pattern[str] = _NAME,
        advice: str = "run `sinfo` and `scontrol ping`",
    ) -> None:
        self._partition, self._user = settings.partition, settings.user
        self._seconds, self._names, self._advice = command_seconds, names, advice

    def submit(self, job: NewJob, may_exist: bool) -> int:
        """As `Batch.submit`."""
        if may_exist:
            known = [one for one in self._queue("--name", job.name) if one.state != ENDED]
            if known:
                return min(one.id for one in known)
        finished = self._sbatch(job, "--parsable")
        found = _NUMBER.fullmatch(finished.text)
        if found is None:  # the job, if there is one, is found by its name
            raise HostError(f"sbatch printed {finished.text[:80]!r} instead of the number of a job")
        return int(found[1])

    def forecast(self, job: NewJob) -> Forecast:
        """As `Batch.forecast`: Slurm's own estimate, which goes by the time limits of the jobs before it."""
        found = _START.search(self._sbatch(job, "--test-only").error_text)
        return Forecast(None if found is None else float(found[1]))

    def _sbatch(self, job: NewJob, how: str) -> Finished:
        """UserError when Slurm will never run the job."""
        # Slurm refuses the job for a name that it has not: the node may have left it since it was found without a host
        excluded = sorted(set(job.excluded).intersection(self.nodes())) if job.excluded else []
        finished = self.run(
            "sbatch", how, f"--partition={self._partition}", f"--nodes={job.host_count}-{job.host_count}",
            "--ntasks-per-node=1", "--exclusive", "--mem=0", "--no-kill", "--requeue", "--dependency=singleton",
            f"--time={job.minutes}", f"--job-name={job.name}", f"--comment={job.comment}",
            "--export=NONE", "--chdir=/", "--output=/dev/null",
            *([f"--account={job.account}"] if job.account else []),
            *([f"--reservation={job.reservation}"] if job.reservation else []),
            *([f"--nodelist={','.join(job.hosts)}"] if job.hosts else []),
            *([f"--exclude={','.join(excluded)}"] if excluded else []),
            standard_input=_SCRIPT,
        )  # fmt: skip
        if finished.exit_status:
            raise self._refusal(job, finished)
        return finished

    def confirmed(self, job: Job, *changes: str) -> Job:
        """As `Batch.confirmed`: it is read again, since a controller that was restarted may have lost its start.

        `changes`: further ones that scontrol makes.
        """
        self.asked("scontrol", "update", f"job={job.id}", "requeue=0", *changes)
        again = [one for one in self._queue("--name", job.name) if one.id == job.id]
        return again[0] if again else job._replace(state=UNKNOWN)

    def end(self, job: Job, is_complete: bool) -> None:
        """As `Batch.end`. The name is given besides the number, which may be another job's by now."""
        how = ["--batch", "--signal=USR2"] if is_complete and job.state == RUNNING else []
        self.asked("scancel", *how, f"--name={job.name}", f"--user={self._user}", str(job.id))

    def extend(self, one: Computeset, minutes: int) -> None:
        """Have the job of a set run for so many minutes in all.

        Operators of Slurm pass over the limits of partitions, accounts and reservations, so they are compared here.
        UserError, in words for owners, where one of them, or Slurm, does not permit it.
        """
        living = [it for it in self._queue("--name", one.name or "") if it.state in (PENDING, RUNNING)]
        if not living:
            raise UserError("its job has ended")
        has = self._minutes_of(living[0])
        if has is not None and has > minutes:
            raise UserError(f"the site has given it {has} minutes already")
        if has == minutes:  # by an attempt before, whose answer was lost
            return
        self._check_extension(one, living[0], minutes, has or one.walltime_minutes)
        finished = self.run("scontrol", "update", f"job={living[0].id}", f"TimeLimit={minutes}")
        if not finished.exit_status:
            return
        message = message_of(finished)
        if is_away(message):
            raise HostError(f"scontrol failed: {message}; {self._advice}")
        permit = f"to permit it: sacctmgr modify user {self._user} set AdminLevel=Operator"
        _LOG.warning("scontrol refused to extend %s: %s; %s", one.name, message, permit)
        if "permission" in message.lower():
            raise UserError(
                "the site's scheduler lets only its operators do so; ask the site's operators to make Nucleus one"
            )
        raise UserError("the site's scheduler refused it; ask the site's operators")

    @staticmethod
    def _minutes_of(job: Job) -> int | None:
        """The time limit of a job that runs, which an operator may have changed; None of another one."""
        if job.state != RUNNING or job.ends_at is None or job.starts_at is None:
            return None
        return round((job.ends_at - job.starts_at) / 60)

    def _check_extension(self, one: Computeset, job: Job, minutes: int, before: int) -> None:
        more = (minutes - before) * one.node_count
        longest = [one.get("MaxTime", "") for one in self._records("partition", self._partition)]
        if longest and (most := _time_minutes(longest[0])) is not None and minutes > most:
            raise UserError(f"the site's scheduler permits {most} minutes at most")
        account = self.accounts([one.account]).get(one.account) if one.account else None
        if account is not None and account.left_minutes is not None and more > account.left_minutes:
            left, needed = (f"{number / 60:.15g}" for number in (account.left_minutes, more))
            raise UserError(f"{one.account} has {left} node hours left; this needs {needed}")
        if job.state == RUNNING and job.starts_at is not None:
            self._check_reservations(one, job, job.starts_at + minutes * 60)

    def _check_reservations(self, one: Computeset, job: Job, end: float) -> None:
        """UserError where its own reservation ends before, or another one of its hosts begins before."""
        own = (one.reservation or "").split(",")
        for record in self._records("reservation"):
            begins, ends = (_moment(record.get(name, "")) for name in ("StartTime", "EndTime"))
            if record.get("ReservationName") in own:
                if ends is not None and end > ends:
                    raise UserError(f"the reservation {record['ReservationName']} ends before that")
            elif (
                begins is not None and begins < end and set(expand(record.get("Nodes", ""))) & set(job.hosts)
            ):
                raise UserError("its hosts are reserved for others from then on")

    def _records(self, kind: str, *name: str) -> list[dict[str, str]]:
        """The fields of each record; none where Slurm has none."""
        text = self.asked(
            "scontrol", "--oneliner", "show", kind, *name, passes=("not found", "No reservations")
        )
        return [dict(_FIELD.findall(line)) for line in text.splitlines() if "=" in line]

    def jobs(self, names: Collection[str]) -> list[Job]:
        """As `Batch.jobs`. How a job ended that completes, or that the queue does not have, the accounting knows."""
        queue = self._queue()
        found = [one for one in queue if one.state != _COMPLETING]
        completing = {one.name: one for one in queue if one.state == _COMPLETING}
        asked = set(names) - {one.name for one in found}
        ends = self._ends(sorted(asked)) if asked else {}
        for name in sorted(asked | set(completing)):
            job = completing.get(name, Job(0, name, UNKNOWN))
            if name in completing and name not in asked:
                found.append(job._replace(state=ENDED, reason="lost"))
            elif ends is None:  # a refusal by the prolog completes, too, and waits again afterwards
                found.append(job._replace(state=UNKNOWN))
            elif name in ends:
                found.append(ends[name])
            elif name in completing:  # its end is on its way to the accounting
                found.append(job._replace(state=UNKNOWN))
        return found

    def nodes(self) -> dict[str, str]:
        """As `Batch.nodes`: those of the partition."""
        arguments = ("--noheader", "--Node", f"--partition={self._partition}", "--format=%N|%T|%E")
        return parse_nodes(self.asked("sinfo", *arguments))

    def charges(self, names: Collection[str]) -> dict[str, Charge]:
        """As `Batch.charges`: of all jobs of a name, also of one that a host refused, or that lost a host."""
        return parse_charges(self._accounted(sorted(names), "State,End,ElapsedRaw,AllocNodes,JobName"))

    def accounts(self, names: Collection[str]) -> dict[str, Account]:
        """As `Batch.accounts`: what slurmctld enforces; the accounts above those are asked for, too."""
        text, asked, names = "", set[str](), set(names)
        while names:
            arguments = ("show", "assoc_mgr", f"accounts={','.join(sorted(names))}", "flags=assoc")
            text += self.asked("scontrol", *arguments)
            asked |= names
            names = set(_PARENT.findall(text)) - asked
        return parse_accounts(text)

    def _accounted(self, names: Sequence[str], columns: str) -> str:
        return self.asked(
            "sacct", "--noheader", "--allocations", "--duplicates", "--parsable2", f"--user={self._user}",
            f"--name={','.join(names)}", "--starttime=now-30days", f"--format={columns}",
        )  # fmt: skip

    def _queue(self, *filters: str) -> list[Job]:
        """The jobs of its names that the controller knows; one that completes has the state COMPLETING."""
        printed = self.asked(
            "squeue", "--noheader", "--states=all", f"--user={self._user}",
            "--format=%i|%T|%r|%N|%e|%S|%Q|%a|%j", *filters,
        )  # fmt: skip
        try:
            return parse_queue(printed, self._names)
        except (ValueError, UserError) as error:
            raise HostError(f"what squeue printed cannot be read ({error}); run `squeue`") from None

    def _ends(self, names: Sequence[str]) -> dict[str, Job] | None:
        """Name → the ended job, of those that have ended; None while the accounting does not answer."""
        try:
            return parse_ends(self._accounted(names, "JobIDRaw,State,JobName"))
        except HostError as error:
            _LOG.warning("%s", error)
        except ValueError as error:
            _LOG.warning("what sacct printed cannot be read (%s); run `sacct`", error)
        return None

    def asked(self, program: str, *arguments: str, passes: Sequence[str] = ()) -> str:
        """What a program of Slurm prints. HostError when it fails; `passes`: parts of the errors that are none."""
        finished = self.run(program, *arguments)
        if finished.exit_status and not any(part in message_of(finished) for part in passes):
            raise HostError(f"{program} failed: {message_of(finished)}; {self._advice}")
        return finished.text

    def run(self, program: str, *arguments: str, standard_input: bytes = b"") -> Finished:
        """How a program of Slurm ended. HostError when it cannot be started or does not end in time."""
        # it prints times in seconds since 1970; those that scontrol reads have no zone: they are of its process
        environment = {**os.environ, "SLURM_TIME_FORMAT": "%s", "TZ": "UTC"}
        try:
            return run(
                (program, *arguments),
                deadline_seconds=self._seconds,
                standard_input=standard_input,
                environment=environment,
            )
        except ToolError as error:
            raise HostError(f"{error}; {self._advice}") from None

    def _refusal(self, job: NewJob, finished: Finished) -> UserError | HostError:
        message = message_of(finished)
        if is_away(message):
            return HostError(f"sbatch failed: {message}; {self._advice}")
        _LOG.warning("sbatch refused %s: %s", job.name, message)
        known = [text for part, text in _REFUSALS.items() if part in message]
        return UserError(known[0] if known else "this site's scheduler refused it; ask the site's operators")


def message_of(finished: Finished) -> str:
    """What a program of Slurm printed last as an error."""
    found = _ERROR.findall(finished.error_text)
    return str(found[-1]) if found else finished.error_text[-200:] or f"exit status {finished.exit_status}"


def is_away(message: str) -> bool:
    """Whether the controller does not answer now."""
    return any(part in message for part in _AWAY)


def parse_queue(text: str, names: re.Pattern[str] = _NAME) -> list[Job]:
    """Jobs of the lines NUMBER|STATE|REASON|HOSTS|END|START|PRIORITY|ACCOUNT|NAME of squeue; pure.

    Those of other names are left out. A job with the reason Prolog waits: not every host has admitted it. HostError for
    a line of another form.
    """
    jobs: list[Job] = []
    queue: list[tuple[int, int, int]] = []
    for line in text.splitlines():
        fields = line.split("|", 8)
        if len(fields) != 9:
            raise HostError(f"squeue printed {line[:80]!r}, which is no job; run `squeue`")
        number, state, reason, hosts, end, start, priority, account, name = fields
        if not names.fullmatch(name) or not number.isdigit():
            continue
        ours = state if state == _COMPLETING else _STATES.get(state, ENDED)
        if ours == RUNNING and reason == "Prolog":
            ours = PENDING
        if state == PENDING.upper():
            queue.append((-int(priority) if priority.isdigit() else 0, int(number), len(jobs)))
        jobs.append(
            Job(
                int(number), name, ours, tuple(expand(hosts)) if ours == RUNNING else (),
                _reason(state, reason) if ours == ENDED else "", _moment(end), _moment(start),
                _waiting(reason, account) if ours == PENDING else "",
            )
        )  # fmt: skip
    for place, (_, _, index) in enumerate(sorted(queue), 1):
        jobs[index] = jobs[index]._replace(place=place)
    return jobs


def _moment(text: str) -> float | None:
    return float(text) if text.isdigit() and len(text) < 12 else None


def _time_minutes(text: str) -> int | None:
    """A limit of time as scontrol prints it, `[D-]HH:MM:SS`, in minutes; None for none."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    return None if found is None else 1440 * int(found[1] or 0) + 60 * int(found[2]) + int(found[3])


def _waiting(reason: str, account: str) -> str:
    found = next((text for start, text in _WAITS.items() if reason.startswith(start)), _WAITS_ELSE)
    return found.format(account=account)


def parse_nodes(text: str) -> dict[str, str]:
    """Node → why it gets no jobs, else '', of the lines NAME|STATE|REASON of sinfo; pure."""
    rows = [line.split("|", 2) for line in text.splitlines() if line.count("|") > 1]
    return {
        name: _why_unavailable(state, reason) if state.startswith(_UNAVAILABLE) else ""
        for name, state, reason in rows
    }


def _why_unavailable(state: str, reason: str) -> str:
    if reason == "none":
        return printable(state)
    return printable(f"{_INVALID}: {reason}" if state.startswith(_INVALID) else reason)


def parse_ends(text: str) -> dict[str, Job]:
    """Name → its last job of the lines NUMBER|STATE|NAME of sacct, if that has ended; pure."""
    ends: dict[str, Job] = {}
    for line in text.splitlines():
        number, _, rest = line.partition("|")
        state, _, name = rest.partition("|")
        first = state.split(" ")[0]  # `CANCELLED by 0`
        if first in _REASONS:
            ends[name] = Job(int(number), name, ENDED, reason=_reason(first, ""))
        else:
            ends.pop(name, None)
    return ends


def parse_charges(text: str) -> dict[str, Charge]:
    """Name → charge, of the lines STATE|END|SECONDS|NODES|NAME of sacct; pure.

    After slurmdbd was away, a row has the state of its end before the end itself, and its seconds grow (22.05.8).
    """
    charges: dict[str, Charge] = {}
    for line in text.splitlines():
        state, end, seconds, nodes, name = line.split("|", 4)
        has_ended = state.split(" ")[0] in (*_REASONS, "REQUEUED", "RESIZING") and end != "Unknown"
        before = charges.get(name, Charge(0, True))
        charges[name] = Charge(before.seconds + int(seconds) * int(nodes), before.is_final and has_ended)
    return charges


def parse_accounts(text: str) -> dict[str, Account]:
    """Account → what is counted of it, of `scontrol show assoc_mgr`; pure. Records of users are left out."""
    found, parents = dict[str, Account](), dict[str, str]()
    for record in text.split("ClusterName=")[1:]:
        account = re.search(r" Account=(\S*) UserName= ", record)
        minutes = re.search(r"GrpTRESMins=\S*\bnode=(N|\d+)\((\d+)\)", record)
        running = re.search(r"GrpTRESRunMins=\S*\bnode=(?:N|\d+)\((\d+)\)", record)
        if account and minutes and running:
            limit = None if minutes[1] == "N" else int(minutes[1])
            found[account[1]] = Account(limit, int(minutes[2]), int(running[1]))
            parent = _PARENT.search(record)
            parents[account[1]] = parent[1] if parent else ""
    return {name: _limited(name, found, parents) for name in found}


def _limited(name: str, accounts: dict[str, Account], parents: dict[str, str]) -> Account:
    """The account with what all limits leave."""
    lefts, above, seen = list[tuple[int, bool, str]](), name, set[str]()
    while above in accounts and above not in seen:  # what was read in parts may have parents in a ring
        seen.add(above)
        one = accounts[above]
        if one.limit_minutes is not None:
            left = max(0, one.limit_minutes - one.used_minutes - one.running_minutes)
            lefts.append((left, above != name, above))
        above = parents[above]
    if not lefts:
        return accounts[name]
    left, is_above, by = min(lefts)
    return accounts[name]._replace(left_minutes=left, limited_by=by if is_above else None)


def _reason(state: str, why: str) -> str:
    return LIMIT if why.startswith(("Assoc", "QOS")) else _REASONS.get(state, LOST)


# What the configuration of Slurm needs so that computesets can be its jobs; nothing is changed.


_EPILOG_SECONDS = 3600
_MARGIN_SECONDS = 60
"""How long `rocks-host-free` waits as an epilog."""

_LINE = re.compile(r"^(\w+)(?:\[\d+\])?\s*= ?(.*)$", re.MULTILINE)
"""Slurm 24.11 prints each program before jobs by itself: `Prolog[0] = …`."""

_FIELD = re.compile(r"(\w+)=(\S*)")
_HOOKS = ("Prolog", "Epilog", "HealthCheckProgram")
_ACCOUNTING = ("AccountingStorageType", "accounting_storage/slurmdbd")
_PROGRAM = "/opt/rocks/libexec/rocks-host-free"


class SlurmSettings(NamedTuple):
    """What Slurm reports. `partition` is empty when there is none; `accounts`: those that the user may charge.

    `numbers` are those of the user here and for slurmctld, which reads it when it starts; None without such a user.
    """

    configuration: Mapping[str, str]
    partition: Mapping[str, str]
    accounts: frozenset[str]
    numbers: tuple[int | None, int | None]


def read_settings(batch: BatchSettings) -> SlurmSettings:
    """Ask slurmctld and slurmdbd. HostError when one does not answer."""
    user = batch.user
    try:
        configuration = dict(_LINE.findall(_ask("scontrol", "show", "config")))
        partitions = _ask("scontrol", "--oneliner", "show", "partition")
        # without slurmdbd, sacctmgr only says that there is none
        of_user = ("--noheader", "--parsable2", "show", "associations", f"user={user}", "format=Account")
        accounts = _ask("sacctmgr", *of_user) if _has(configuration, *_ACCOUNTING) else ""
        users = _ask("scontrol", "show", "assoc_mgr", f"users={user}", "flags=users")
    except ToolError as error:
        raise HostError(f"{error}; run `scontrol ping` and `sacctmgr show cluster`") from None
    fields = [dict(_FIELD.findall(line)) for line in partitions.splitlines()]
    named = [one for one in fields if one.get("PartitionName") == batch.partition]
    known = re.search(rf"^UserName={re.escape(user)}\((\d+)\)", users, re.MULTILINE)
    return SlurmSettings(
        configuration,
        named[0] if named else {},
        frozenset(accounts.split()),
        (_own_number(user), int(known[1]) if known else None),
    )


def _own_number(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def missing_settings(
    found: SlurmSettings, batch: BatchSettings, allocations: Collection[str], grace_seconds: float
) -> list[str]:
    """A sentence for each setting that is missing, in the order of the guide; pure."""
    needs = (
        *_partition_needs(found, batch.partition, grace_seconds),
        *_host_needs(found.configuration),
        *_account_needs(found.configuration),
    )
    missing = [text for is_there, text in needs if not is_there]
    for account in sorted(set(allocations) - found.accounts):
        missing.append(
            f"{batch.user} cannot charge {account}: sacctmgr add account {account};"
            f" sacctmgr add user {batch.user} account={account}"
        )
    here, there = found.numbers
    if here is None:
        missing.append(f"this machine has no user {batch.user}, who submits the jobs")
    elif there not in (here, None):
        missing.append(
            f"slurmctld does not know the user {batch.user} by the number {here}: create it with this number where"
            " slurmctld runs, then systemctl restart slurmctld"
        )
    return missing


def _partition_needs(
    found: SlurmSettings, partition: str, grace_seconds: float
) -> Iterator[tuple[bool, str]]:
    """(whether it is there, what is missing else)."""
    yield bool(found.partition), f"the partition {partition} does not exist: PartitionName={partition}"
    over = _minutes(found.partition.get("OverTimeLimit", "NONE"))
    over = _minutes(found.configuration.get("OverTimeLimit", "0")) if over is None else over
    yield (
        (over or 0) * 60 > grace_seconds,
        f"OverTimeLimit of the partition {partition} is {over or 0} minutes: guests have {grace_seconds:g} s to"
        " shut down, and images are written back after that",
    )


def _host_needs(have: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    """What lets jobs wait, and has hosts checked before and after them; as `_partition_needs`."""
    enforced, allocating = _has(have, "EnforcePartLimits", "ALL"), _has(have, "PrologFlags", "Alloc")
    yield enforced, "EnforcePartLimits=ALL, else a set that asks too much waits for ever"
    yield allocating, "PrologFlags=Alloc, else machines are started before a host was checked"
    for hook in _HOOKS:
        yield have.get(hook, "(null)") != "(null)", f"{hook}={_PROGRAM}, or a program that starts it"
    interval = _seconds(have.get("HealthCheckInterval", "0"))
    yield interval > 0, "HealthCheckInterval=30, else no health check runs"
    every_state = _has(have, "HealthCheckNodeState", "ANY")
    yield every_state, "HealthCheckNodeState=ANY, else a host that is down is not checked"
    limit = _seconds(have.get("PrologEpilogTimeout", "65534"))
    yield (
        limit >= _EPILOG_SECONDS + _MARGIN_SECONDS,
        f"PrologEpilogTimeout is {limit} s: an epilog waits for {_EPILOG_SECONDS} s",
    )
    yield (
        _has(have, "SchedulerParameters", "nohold_on_prolog_fail"),
        "SchedulerParameters=nohold_on_prolog_fail, else a job that a host refuses is held",
    )


def _account_needs(have: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    yield (
        _has(have, *_ACCOUNTING),
        "AccountingStorageType=accounting_storage/slurmdbd, else the end of a job is not known for long",
    )
    yield (
        _has(have, "AccountingStorageEnforce", "associations", "limits", "safe"),
        "AccountingStorageEnforce=associations,limits,safe, else accounts have no limits",
    )


def _has(have: Mapping[str, str], key: str, *values: str) -> bool:
    given = {value.partition("=")[0].lower() for value in have.get(key, "").split(",")}
    return {value.lower() for value in values} <= given


def _minutes(text: str) -> int | None:
    """None where nothing is set."""
    number = re.match(r"\d+", text)
    return int(number[0]) if number else 10**6 if text == "UNLIMITED" else None


def _seconds(text: str) -> int:
    number = re.match(r"\d+", text)
    return int(number[0]) if number else 0


def _ask(*arguments: str) -> str:
    return run_checked(arguments, deadline_seconds=30.0).text
