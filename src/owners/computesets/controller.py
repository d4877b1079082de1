"""Gives the machines of all computesets their events, and performs their actions; one controller at a time.

Everything is compared again at each round: the set, its job, its nodes, its timers. So nothing is lost when a round
ends anywhere; what a step decides is stored in one transaction with the operations that perform it. A round reads all
sets at once; one of which something has happened is read again, and locked.

A machine that is on without a computeset is reported (event, metric, `nucleus status`) and left alone: one
that an operator started for a reason would lose its work. Clusters without a project are the operators' own.
"""

from __future__ import annotations

import logging
import math
import os
import pwd
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from comet.client.hostlists import collect_hostlist
from nucleus.mirror import clusters, operations
from nucleus.mirror.columns import new_ulid
from nucleus.mirror.events import NEWS, WORK, append_events, recent_events
from nucleus.mirror.pool import logged
from nucleus.operations.timers import Clock, moved
from nucleus.power_actions import POWER_ACTIONS
from nucleus.records import SYSTEM, JsonObject, NewEvent, NewOperation
from nucleus.states import (
    CANCELLED,
    CREATED,
    ENDED,
    ENDED_SETS,
    ENDING,
    PENDING,
    QUEUED,
    RUNNING,
    SUBMITTED,
    UNKNOWN,
    outcome_of,
)
from owners.computesets import lifecycle
from owners.computesets import records as computesets
from owners.computesets.alarms import Alarms, Scheduler, store_charges
from owners.computesets.batch import (
    HOSTS_CHECKED,
    SCHEDULED,
    HostList,
    Job,
    NewJob,
    nodes_without_host,
    record_hosts,
    record_unavailable,
)
from owners.computesets.lifecycle import (
    Action,
    Event,
    Seen,
    are_nodes_gone,
    facts_of_job,
    is_absent,
    job_events,
    jobs_by_name,
    node_events,
)
from owners.computesets.records import Computeset
from owners.computesets.slurm import Slurm
from rocks.core.errors import HostError, UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Guard, Pool, Session
    from owners.computesets.batch import Batch
    from owners.computesets.lifecycle import Context


_LOG = logging.getLogger(__name__)
_FAILED_STARTS, _POWERED_OFF = "failed", "powered_off"
"""Notes beside the timers: failed starts and the request to power off that the lifecycle knows of already."""

_SOON_SECONDS = 0.25
_END_AGAIN_SECONDS, _CANCEL_SECONDS = 1.0, 20.0
"""When a request to end a job is repeated, and after which time it is cancelled: a script that was never started, or
whose host is away, gets no signal, and Slurm keeps each one.
"""

_ABSENT_SECONDS = 60.0
"""How long a batch system that answers may not have a job before it counts as lost."""

WARNING_SECONDS, _LEAST_SECONDS = 3600.0, 3900.0
"""Owners are warned an hour before the end of a set. A set that never had 65 minutes left has no warning: who starts it
knows when it ends."""


def _read_sets(session: Session, sets: Sequence[Computeset], jobs: Mapping[str, Job]) -> list[Seen]:
    """The sets in their order, with their jobs by name; a fixed number of statements, however many they are.

    A set that waits for hosts has no nodes here.
    """
    placed = [one for one in sets if _has_hosts(one, jobs.get(one.name or ""))]
    node_ids = [number for one in placed for number in one.node_ids]
    notes = computesets.read_notes(session, [one.id for one in sets])
    by_id = clusters.clusters_by_id(session, SYSTEM, [one.cluster_id for one in sets])
    # before the nodes: of one that is not busy, what its last operation has left is read
    busy = operations.busy_nodes(session, node_ids)
    nodes = clusters.member_nodes(session, node_ids)
    failed = operations.failed_operations(session, [one.id for one in placed], STARTS)
    return [
        Seen(
            one,
            lifecycle.from_json_object(one.context, one.node_ids),
            notes.get(one.id, {}),
            by_id.get(one.cluster_id),
            nodes,
            busy,
            failed.get(one.id, []),
            jobs.get(one.name or ""),
        )
        for one in sets
    ]


def _has_hosts(one: Computeset, job: Job | None) -> bool:
    return one.state in (RUNNING, ENDING) or (job is not None and job.state == RUNNING)


def _unneeded(jobs: dict[str, Job], living: Sequence[Computeset]) -> list[tuple[Job, bool]]:
    """Jobs that no set needs any more, and whether each has done its work."""
    sets, found = {one.name: one for one in living}, list[tuple[Job, bool]]()
    for name, job in jobs.items():
        if job.state in (ENDED, UNKNOWN):
            continue
        one = sets.get(name)
        if one is not None and not (one.context.get("is_released") or one.context.get("is_cancelled")):
            continue
        context = None if one is None else lifecycle.from_json_object(one.context, one.node_ids)
        if context is None or context.is_released or (context.is_cancelled and not context.hosts):
            found.append((job, context is not None and context.is_released and bool(context.hosts)))
    return found


class ComputesetController:
    """The controller of a process; it does nothing without the lease."""

    def __init__(
        self, configuration: Configuration, guard: Guard, batch: Batch, clock: Clock | None = None
    ) -> None:
        self._configuration = configuration
        self._settings, self._kind = configuration.computesets, configuration.batch.kind
        self._guard = guard
        self._batch = batch
        self._clock = clock or Clock()
        self._checked: float | None = None
        """When `_check_site` has last looked, in seconds since boot."""
        self._living: list[Computeset] = []
        self._unchanged: dict[int, tuple[int, str | None, Job]] = {}
        """Number of a set from which nothing followed → its version, the end asked for, and its job then."""
        self._ends: dict[int, tuple[float, float]] = {}
        """Number of a job → when its end was asked for first and last, in seconds since boot."""
        self._alarms = Alarms(guard)
        self._scheduler = Scheduler(configuration, guard, self._clock)

    def run(self, stop: threading.Event) -> None:
        """A round whenever something has changed, and each second, until `stop` is set.

        While hosts admit a job the next one comes sooner: its owner waits for nothing else.
        """
        self._guard.work("computesets", self.round, WORK, stop)
        self._guard.release()

    def round(self) -> float | None:
        """Submit what is new, give every set its events, and end the jobs that nobody needs. The lease must be held.

        Returns after how many seconds the next one is wanted, if that is sooner than usual.

        While the batch system does not answer, nothing happens to jobs; owners' ends, nodes and timers go on.
        """
        with self._guard.transaction() as session:
            living = self._living = computesets.living_sets(session, self._living)
            removed = computesets.sets_of_removed_clusters(session)
        jobs, doubles = jobs_by_name(self._jobs(living))
        with self._guard.transaction() as session:
            sets = _read_sets(session, self._maybe_changed(living, jobs, removed), jobs)
        facts = []
        for seen in sets:
            with logged(f"computeset {seen.one.id}"):
                if self._has_changed(seen):
                    self._drive(seen.one, jobs)
                elif changed := facts_of_job(seen, seen.one.state, seen.notes):
                    facts.append((seen.one, changed))
                elif seen.job is not None and seen.job.state == PENDING and not seen.notes:
                    self._unchanged[seen.one.id] = (seen.one.version, seen.one.cancel_requested, seen.job)
        with logged("facts of jobs"):
            self._store_facts(facts)
        for job in doubles:
            if job.state != ENDED:
                with logged(job.name):
                    self._batch.end(job, is_complete=False)
        self._settle_jobs(jobs, living)
        self._check_site()
        return _SOON_SECONDS if any(job.waiting == HOSTS_CHECKED for job in jobs.values()) else None

    def _maybe_changed(
        self, living: Sequence[Computeset], jobs: dict[str, Job], removed: Collection[int]
    ) -> list[Computeset]:
        """The sets but those that wait, and whose set and job are as they were when nothing followed from them.

        `removed`: sets whose clusters are gone, which go on waiting no more.
        """

        def is_unchanged(one: Computeset) -> bool:
            known = self._unchanged.get(one.id)
            return (
                known == (one.version, one.cancel_requested, jobs.get(one.name or ""))
                and one.id not in removed
            )

        self._unchanged = {one.id: self._unchanged[one.id] for one in living if is_unchanged(one)}
        return [one for one in living if one.id not in self._unchanged]

    def _has_changed(self, seen: Seen) -> bool:
        """Whether something has happened to the set, besides facts of a job."""
        notes = self._notes_now(seen)
        return notes != seen.notes or bool(self._events(seen, notes))

    def _store_facts(self, facts: Sequence[tuple[Computeset, dict[str, Any]]]) -> None:
        """Set, column → value of what owners see of its job: when one begins, the places of all that wait change."""
        if not facts:
            return
        with self._guard.transaction() as session:
            for one, changed in facts:
                computesets.store_computeset(session, one.id, one.version, changed)
            clusters.bump_generation(session, {one.cluster_id for one, _ in facts})
        NEWS.give()

    def _jobs(self, living: Sequence[Computeset]) -> list[Job]:
        """All jobs, after what is new was submitted; those of all sets are unknown when the batch system is away."""
        issued = [
            one
            for one in living
            if one.name and (one.jobid is not None or one.state == ENDING or one.cancel_requested)
        ]
        try:
            for one in living:
                if one.state == CREATED or (one.state == SUBMITTED and one.jobid is None):
                    with logged(f"computeset {one.id}", passes=(HostError,)):
                        self._submit(one)
        except HostError as error:  # the others would wait for the same; what runs has jobs all the same
            _LOG.warning("computesets: %s", error)
        began = self._clock.since_boot()
        names = {one.name for one in issued if one.name and not one.context.get("job_gone")}
        try:
            jobs = self._batch.jobs(names)
        except HostError as error:
            _LOG.warning("computesets: %s", error)
            waiting = self._scheduler.failed(began, str(error))
            return [Job(one.jobid or 0, one.name or "", UNKNOWN, waiting=waiting) for one in issued]
        self._scheduler.answered(began, len(jobs))
        return jobs

    def _submit(self, one: Computeset) -> None:
        """Have the batch system know the set's job: first its name is stored, which makes a repetition the same job."""
        if one.cancel_requested:  # a job that an earlier submission has left is found by its name
            return
        context = lifecycle.from_json_object(one.context, one.node_ids)
        name = one.name or f"VC-JOB-{one.id}-{new_ulid().lower()}"
        hosts = list(one.context.get("requested" if "members" in one.context else "hosts") or ())
        with self._guard.transaction() as session:
            cluster = clusters.find_cluster_by_id(session, SYSTEM, one.cluster_id)
            excluded = tuple(nodes_without_host(session))
            if not context.is_issued:
                issued = lifecycle.to_json_object(context._replace(is_issued=True))
                of_job = {"requested": hosts, "batch": self._kind}  # which `check_kind` reads, too
                changed = {"name": name, "context": {**of_job, **one.context, **issued}}
                if not computesets.store_computeset(session, one.id, one.version, changed):
                    return
        job = NewJob(
            name, one.node_count, one.walltime_minutes, one.account, tuple(hosts), one.reservation,
            cluster.name if cluster else "", excluded,
        )  # fmt: skip
        try:
            event = Event("submit_ok", jobid=self._batch.submit(job, may_exist=context.is_issued))
        except UserError as error:
            _LOG.warning("computeset %d: rejected: %s", one.id, error)
            event = Event("submit_reject", reason=str(error)[:64])  # for owners
        with self._guard.transaction() as session:
            seen = self._read(session, one.id, None)
            if seen is None or not self._apply(session, seen, [event], dict(seen.notes)):
                return
        NEWS.give()
        WORK.give()

    def _drive(self, one: Computeset, jobs: dict[str, Job]) -> None:
        job = jobs.get(one.name or "")
        if job is not None and job.state == RUNNING and one.state in (CREATED, SUBMITTED):
            job = self._batch.confirmed(job)  # a job whose machines are started is never run again elsewhere
        with self._guard.transaction() as session:
            seen = self._read(session, one.id, job)
            if seen is None:
                return
            notes = self._notes_now(seen)
            has_changed = self._apply(session, seen, self._events(seen, notes), notes)
        if has_changed:
            NEWS.give()
            WORK.give()

    def _read(self, session: Session, number: int, job: Job | None) -> Seen | None:
        one = computesets.find_computeset(session, SYSTEM, number, lock=True)
        if one is None or one.state in ENDED_SETS:
            return None
        return _read_sets(session, [one], {job.name: job} if job else {})[0]

    def _notes_now(self, seen: Seen) -> JsonObject:
        """The set's notes, with the timer of a job that is absent, and the walltime as the batch system has it now."""
        notes, job = dict(seen.notes), seen.job
        if is_absent(seen):
            notes.setdefault(lifecycle.ABSENT, self._clock.timer(_ABSENT_SECONDS))
        elif job is None or job.state != UNKNOWN:
            notes.pop(lifecycle.ABSENT, None)
        ends_at = job.ends_at if job is not None and job.state == RUNNING else None
        known = notes.get(lifecycle.WALLTIME)
        if ends_at is not None and seen.one.state == RUNNING and known and known["at"] != ends_at:
            notes[lifecycle.WALLTIME] = self._clock.timer_at(ends_at)
        if seen.one.state == RUNNING and (end := notes.get(lifecycle.WALLTIME)):
            # The timer follows the end: an extension sets it again after it was due, and a shortened limit may make it
            # due at once. `_LEAST_SECONDS` is longer than `WARNING_SECONDS`, else one that was due would be set again.
            is_long = not self._clock.is_due(moved(end, -_LEAST_SECONDS))
            if is_long or lifecycle.WARNING in notes:
                notes[lifecycle.WARNING] = moved(end, -WARNING_SECONDS)
        return notes

    def _events(self, seen: Seen, notes: JsonObject) -> list[Event]:
        """What has happened since the last round, in the order: owner, batch system, nodes, timers."""
        one, context = seen.one, seen.context
        found = []
        if one.cancel_requested and not context.is_cancelled:
            found.append(Event("cancel", stop=one.cancel_requested))
        elif one.cancel_requested == "poweroff" and one.state == ENDING and not notes.get(_POWERED_OFF):
            found.append(Event("cancel", stop="poweroff"))
        if one.state != ENDING and are_nodes_gone(seen):  # before its job, which may have got hosts just now
            found.append(Event("nodes_gone"))
        found += job_events(seen)
        if one.state in (RUNNING, ENDING):
            known = notes.get(_FAILED_STARTS, [])
            found += [Event("start_failed", node=node) for name, node in seen.failed if name not in known]
            for member in context.members:
                found += node_events(member, seen)
        return found + [
            Event(name) for name in lifecycle.TIMERS if name in notes and self._clock.is_due(notes[name])
        ]

    def _apply(self, session: Session, seen: Seen, events: list[Event], notes: JsonObject) -> bool:
        """Store what follows from the events, in this transaction, with the notes; whether something does."""
        one = seen.one
        state, context, actions = one.state, seen.context, list[Action]()
        for event in events:
            if event.kind in notes:
                del notes[event.kind]
            if event.stop == "poweroff":
                notes[_POWERED_OFF] = True
            state, context, more = lifecycle.step(state, context, event)
            actions += more
        if any(event.kind == "start_failed" for event in events):
            notes[_FAILED_STARTS] = [name for name, _ in seen.failed]
        self._start_timers(one, notes, actions)
        if state == ENDING and any(member.is_on for member in context.members):
            # again while a node is on, also where the set had no hosts, and an operator started it
            notes.setdefault(lifecycle.GRACE, self._clock.timer(max(self._settings.grace_seconds, 1.0)))
        facts = facts_of_job(seen, state, notes)
        if (state, context, notes) == (one.state, seen.context, seen.notes) and not actions and not facts:
            return False
        stored = {**one.context, **lifecycle.to_json_object(context)}
        changed: dict[str, Any] = {
            "state": state,
            "context": stored,
            "notes": notes,
            "jobid": context.jobid,
            **facts,
        }
        changed |= {"degraded": context.is_degraded, "end_reason": context.reason}
        if state == RUNNING and one.state != RUNNING:
            changed |= {"nodelist": collect_hostlist(context.hosts), "start_time": datetime.now(UTC)}
        if state in ENDED_SETS:
            changed["ended_at"] = datetime.now(UTC)
        computesets.store_computeset(session, one.id, one.version, changed)
        perform_actions(session, seen._replace(notes=notes), state, context, actions, self._configuration)
        return True

    def _start_timers(self, one: Computeset, notes: JsonObject, actions: list[Action]) -> None:
        seconds = {
            lifecycle.GRACE: self._settings.grace_seconds,
            lifecycle.SYNC: self._settings.image_seconds,
            lifecycle.WALLTIME: one.walltime_minutes * 60.0,
        }
        for action in actions:
            if action.kind == "timer":
                notes[action.text] = self._clock.timer(seconds[action.text])

    def _settle_jobs(self, jobs: dict[str, Job], living: Sequence[Computeset]) -> None:
        """End the jobs of released sets, cancel those of sets that were cancelled or do not live."""
        if not _unneeded(jobs, living):
            self._ends.clear()
            return
        with self._guard.transaction() as session:  # one that was submitted in this round had no name before
            living = computesets.living_sets(session)
        now, asked, self._ends = self._clock.since_boot(), self._ends, {}
        for job, is_complete in _unneeded(jobs, living):
            first, last = self._ends[job.id] = asked.get(job.id, (now, -math.inf))
            if now < last + _END_AGAIN_SECONDS:
                continue
            with logged(job.name):
                self._batch.end(job, is_complete and now < first + _CANCEL_SECONDS)
                self._ends[job.id] = first, now
                WORK.give()

    def _check_site(self) -> None:
        """Now and then: which hosts the batch system has, what needs an operator, and what was charged."""
        now = self._clock.since_boot()
        if self._checked is not None and now < self._checked + self._settings.reconcile_seconds:
            return
        with logged("hosts"):
            nodes = self._batch.nodes()
            with self._guard.transaction() as session:
                record_hosts(session, SCHEDULED, nodes)
                record_unavailable(session, {name: why for name, why in nodes.items() if why})
        with logged("alarms"):
            self._alarms.check()
        self._checked = now
        with logged("charges"):
            store_charges(self._guard, self._batch)


def batch_of(configuration: Configuration, pool: Pool) -> Batch:
    """The batch system. UserError where Slurm would know this process by another user than the settings name."""
    settings = configuration.batch
    if settings.kind == "hosts":
        return HostList(pool, settings.hosts)
    user = pwd.getpwuid(os.geteuid()).pw_name
    if user != settings.user:
        raise UserError(
            f"[batch] user is {settings.user}, and this process is {user}'s: set it, or run it as {settings.user}"
        )
    return Slurm(settings)


# Performs what a step has decided, in the transaction that stores it: operations of nodes, and events for watchers.


_ACTOR = "nucleus"
STARTS = "start_member"
"""The kind of operation that starts a node of a set."""

_SHUTDOWNS, _POWER_OFFS, _WARN = "shutdown_member", "poweroff_member", "warn_set"
_OWNERS = (*POWER_ACTIONS, "attach_iso")
"""Kinds of operations that owners ask for: the end of a set does not wait for those that are queued."""

_KINDS = {"start": STARTS, "shutdown": _SHUTDOWNS, "poweroff": _POWER_OFFS}


def perform_actions(
    session: Session,
    seen: Seen,
    state: str,
    context: Context,
    actions: Sequence[Action],
    configuration: Configuration,
) -> None:
    """Perform the actions, end the operations `start_set` and `end_set` that the step completes, and store events."""
    one, events = seen.one, _perform(session, seen, actions, configuration)
    is_ready = any(action.kind == "ready" for action in actions)
    if is_ready:
        events += _end(session, seen, "start_set", None)
    if context.is_degraded and not seen.context.is_degraded:
        given_up = sum(member.has_given_up for member in context.members)
        detail = f"{given_up} of {len(context.members)} nodes did not start, or lost their hosts"
        events += _end(session, seen, "start_set", {"code": "host", "detail": detail})
    if state in ENDED_SETS:
        if context.reason == lifecycle.USER:
            problem = {"code": CANCELLED, "detail": f"the computeset {one.id} was ended by its owner"}
        else:
            problem = {"code": "state", "detail": f"the computeset {one.id} is {state}: {context.reason}"}
        events += _end(session, seen, "start_set", problem)
        events += _end(session, seen, "end_set", None)
    clusters.bump_generation(session, [one.cluster_id])
    if state != one.state:
        events.append(seen.event("set.state", str(one.id), one.state, state))
    if is_ready:
        events.append(seen.event("set.ready", str(one.id), None, None))
    append_events(session, events)


def _perform(
    session: Session, seen: Seen, actions: Sequence[Action], configuration: Configuration
) -> list[NewEvent]:
    one, kinds, events = seen.one, {action.kind for action in actions}, list[NewEvent]()
    grace_seconds = configuration.computesets.grace_seconds
    cancelled = {"code": CANCELLED, "detail": f"the computeset {one.id} ends"}
    if kinds & {"shutdown", "poweroff"}:
        events += _end(session, seen, STARTS, cancelled, [QUEUED])
        members = [member.id for member in seen.context.members]
        ended = operations.end_queued_operations(session, members, _OWNERS, cancelled)
        events += _ended(seen, ended, cancelled)
    if "poweroff" in kinds:
        events += _end(session, seen, _SHUTDOWNS, cancelled, [QUEUED])
    # a further one, at each end of the grace, would keep the node busy, and the set from ending, for ever
    in_work = operations.nodes_in_work(session, one.id, _POWER_OFFS)
    for index, action in enumerate(actions):
        if action.kind == "poweroff" and action.node in in_work:
            continue
        if action.kind in _KINDS:
            new = NewOperation(
                _KINDS[action.kind], _ACTOR, one.cluster_id, action.node, one.id,
                project_id=seen.project_id, arguments=_arguments(action, grace_seconds),
                delay_seconds=action.delay_seconds, unique_key=f"set/{one.id}/{one.version}/{index}",
            )  # fmt: skip
            operations.insert_operation(session, new)
        elif action.kind == "release":
            computesets.release_nodes(session, one.id)
        elif action.kind == "warn":
            events += _warn(session, seen, has_mail=bool(configuration.mail.server))
        elif action.kind == "alarm":
            _LOG.error("computeset %d: %s", one.id, action.text)
            events.append(seen.event("alarm", str(one.id), None, action.text))
    return events


def _warn(session: Session, seen: Seen, *, has_mail: bool) -> list[NewEvent]:
    """The event of a set that ends soon, unless another part with the same end has it already; and the mail."""
    one, end = seen.one, datetime.fromtimestamp(round(seen.notes[lifecycle.WALLTIME]["at"]), UTC)
    event = seen.event(
        "set.ends", str(one.merged_into or one.id), None, end.isoformat().replace("+00:00", "Z")
    )
    if has_mail:
        new = NewOperation(
            _WARN, _ACTOR, one.cluster_id, target_set=one.id,
            unique_key=f"set/{one.id}/{one.version}/mail",
        )  # fmt: skip
        operations.insert_operation(session, new)  # of no project: it is nothing that owners have asked for
    others = recent_events(session, event.type, event.target, minutes=10)
    is_known = any(abs(datetime.fromisoformat(known) - end) <= computesets.SAME_END for known in others)
    return [] if is_known else [event]


def _arguments(action: Action, grace_seconds: float) -> JsonObject:
    if action.kind == "shutdown":
        return {"seconds": math.ceil(grace_seconds)}
    return {"host": action.host} if action.host else {}


def _end(
    session: Session,
    seen: Seen,
    kind: str,
    problem: JsonObject | None,
    states: Sequence[str] = (QUEUED, RUNNING),
) -> list[NewEvent]:
    """End the set's operations of a kind; the events of that."""
    ended = operations.end_set_operations(session, seen.one.id, kind, problem, states)
    return _ended(seen, ended, problem)


def _ended(seen: Seen, ended: Sequence[tuple[str, str]], problem: JsonObject | None) -> list[NewEvent]:
    new = outcome_of(problem)
    return [seen.event("operation.state", name, old, new, name) for name, old in ended]
