"""The life of a computeset: `step(state, context, event)` is pure, and TABLE is all of it.

An event that has no row in a state changes nothing. Times are not known here: an action starts a timer by its name, and
the controller reports when it is due.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.records import JsonObject, NewEvent
from nucleus.states import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    CRASHED,
    CREATED,
    ENDED,
    ENDED_SETS,
    ENDING,
    FAILED,
    PAUSED,
    PENDING,
    RUNNING,
    SUBMITTED,
    UNKNOWN,
    is_image_free,
    is_off,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nucleus.mirror.clusters import MemberNode
    from nucleus.records import Cluster
    from owners.computesets.batch import Job
    from owners.computesets.records import Computeset


MAX_SET_TRIES = 3
"""After so many failed starts of a machine, or lost jobs before it has hosts, a computeset is given up."""

GRACE, SYNC, WALLTIME, ABSENT, WARNING = "grace_timeout", "sync_timeout", "walltime", "job_absent", "warning"
TIMERS = (ABSENT, WALLTIME, WARNING, GRACE, SYNC)
"""Names of timers, which are the kinds of their events, in the order of these."""

USER, REQUEUED, PLACEMENT, START_FAILED, REMOVED = "user", "requeued", "placement", "start_failed", "removed"
"""Reasons of an end that the controller finds, besides WALLTIME and the texts with which submissions are rejected."""

LOST, OPERATOR, PREEMPTED, NODE, LIMIT, TIMEOUT = "lost", "operator", "preempted", "node", "limit", "timeout"
"""Reasons of an end that the batch system reports of a job; LOST where it reports none."""

_FAILURES = (START_FAILED, PLACEMENT, LOST, REQUEUED, REMOVED, OPERATOR, PREEMPTED, NODE, LIMIT)


class Member(NamedTuple):
    """A node of a set. `host`: where it was placed; `tries`: failed starts; `is_free`: off, its image on the NAS only.

    `image_free` is reported of nodes that are off, of which no operation is in progress.
    """

    id: int
    host: str | None = None
    tries: int = 0
    is_on: bool = False
    is_free: bool = True
    has_given_up: bool = False


class Context(NamedTuple):
    """What a set remembers. `is_issued`: its job may be known to the batch system.

    `lost_jobs`: how many have ended without a reason before the set had hosts.
    """

    members: tuple[Member, ...]
    jobid: int | None = None
    is_issued: bool = False
    is_cancelled: bool = False
    reason: str | None = None
    hosts: tuple[str, ...] = ()
    is_ready: bool = False
    is_released: bool = False
    job_gone: bool = False
    is_degraded: bool = False
    lost_jobs: int = 0


class Event(NamedTuple):
    """Something that happened. `node` is a member's number.

    `stop` of `cancel`: shutdown or poweroff. `reason`: why the job of `job_gone` ended, or, in words for owners, why
    that of `submit_reject` was refused. `hosts` of `allocated`: (member, host) as they were placed; empty where they do
    not fit. `lost` of `hosts_lost`: hosts that the batch system took from the job, which goes on without them.
    """

    kind: str
    jobid: int | None = None
    hosts: tuple[tuple[int, str], ...] = ()
    node: int | None = None
    stop: str = ""
    reason: str = ""
    lost: tuple[str, ...] = ()


class Action(NamedTuple):
    """What follows from an event: start, shutdown, poweroff, timer, ready, warn, release, alarm.

    None is for a job: the controller compares all jobs with their sets in each round, and ends or cancels those that
    nobody needs.
    """

    kind: str
    node: int | None = None
    host: str | None = None
    text: str = ""
    delay_seconds: float = 0.0


Result = tuple[str, Context, list[Action]]
Handler = Callable[[str, Context, Event], Result]


def step(state: str, context: Context, event: Event) -> Result:
    """The state after the event, its context, and the actions that follow."""
    handler = TABLE.get(("*" if state in ENDED_SETS else state, event.kind))
    return handler(state, context, event) if handler else (state, context, [])


def _submitted(_: str, context: Context, event: Event) -> Result:
    return SUBMITTED, context._replace(jobid=event.jobid, is_issued=True), []


def _rejected(state: str, context: Context, event: Event) -> Result:
    """Unless an earlier submission is known, which was taken: then this is a late answer of another try."""
    if context.jobid is not None:
        return state, context, []
    return (
        FAILED,
        context._replace(reason=context.reason or event.reason, is_released=True),
        [Action("release")],
    )


def _allocated(_: str, context: Context, event: Event) -> Result:
    context = context._replace(jobid=event.jobid, is_issued=True)
    if context.is_cancelled:
        return _finish(context._replace(reason=USER), [])
    if {node for node, _ in event.hosts} != {member.id for member in context.members}:
        return _finish(context._replace(reason=PLACEMENT), [])
    hosts = dict(event.hosts)
    # from here on a node counts as started until it was seen off, with its image on the NAS
    members = tuple(member._replace(host=hosts[member.id], is_free=False) for member in context.members)
    context = context._replace(members=members, hosts=tuple(hosts.values()), lost_jobs=0)
    starts = [Action("start", node=member.id, host=member.host) for member in members]
    return RUNNING, context, [Action("timer", text=WALLTIME), *starts]


def _allocated_again(state: str, context: Context, event: Event) -> Result:
    if set(context.hosts) == {host for _, host in event.hosts} and context.jobid == event.jobid:
        return state, context, []
    return _end(context, REQUEUED, "shutdown")


def _cancel_created(_: str, context: Context, __: Event) -> Result:
    context = context._replace(is_cancelled=True)
    if context.is_issued:
        return CREATED, context, []
    return CANCELLED, context._replace(reason=USER, is_released=True), [Action("release")]


def _cancel_submitted(_: str, context: Context, __: Event) -> Result:
    return _finish(context._replace(is_cancelled=True, reason=USER), [])


def _cancel_running(_: str, context: Context, event: Event) -> Result:
    return _end(context._replace(is_cancelled=True), USER, event.stop or "shutdown")


def _cancel_ending(_: str, context: Context, event: Event) -> Result:
    """Again; a request to power off overtakes the shutdown."""
    context = context._replace(is_cancelled=True)
    return ENDING, context, _of_running(context) if event.stop == "poweroff" else []


def _warning(state: str, context: Context, _: Event) -> Result:
    return state, context, [Action("warn")]


def _walltime(_: str, context: Context, __: Event) -> Result:
    return _end(context, WALLTIME, "shutdown")


def _end(context: Context, reason: str, stop: str) -> Result:
    """ENDING for this reason, unless there is one already: each node is stopped, by shutdown or poweroff."""
    context = context._replace(reason=context.reason or reason)
    timers = [Action("timer", text=GRACE), Action("timer", text=SYNC)]
    # every member, also one that is off: its start may be in progress
    stops = [Action(stop, node=member.id) for member in context.members]
    return _finish(context, [*timers, *stops])


def _of_running(context: Context) -> list[Action]:
    return [Action("poweroff", node=member.id) for member in context.members if member.is_on]


def _lost_early(_: str, context: Context, event: Event) -> Result:
    reason = USER if context.is_cancelled else event.reason or LOST
    context = context._replace(job_gone=True, reason=reason, is_released=True)
    return CANCELLED if context.is_cancelled else FAILED, context, [Action("release")]


def _lost_submitted(state: str, context: Context, event: Event) -> Result:
    """Hosts may refuse a job whose number they know: a scheduler that was killed gives it again. It is replaced."""
    if event.reason not in ("", LOST) or context.is_cancelled:
        return _lost_early(state, context, event)
    if context.jobid is None:  # that is known already
        return state, context, []
    context = context._replace(jobid=None, lost_jobs=context.lost_jobs + 1)
    return (state, context, []) if context.lost_jobs < MAX_SET_TRIES else _lost_early(state, context, event)


def _lost_running(_: str, context: Context, event: Event) -> Result:
    return _end(context._replace(job_gone=True), event.reason or LOST, "poweroff")


def _absent_early(state: str, context: Context, event: Event) -> Result:
    """The set never had hosts: its job is submitted again, by the same name, unless it was taken back.

    Of a set that is `created`, a submission has failed, or its answer was lost.
    """
    if context.is_cancelled:
        return _lost_early(state, context, event)
    return state, context._replace(jobid=None), []


def _job_known(state: str, context: Context, event: Event) -> Result:
    """Submitted again, or allocated to a set which ends, or has ended: such a job is not used."""
    return state, context._replace(jobid=context.jobid or event.jobid), []


def _hosts_lost(state: str, context: Context, event: Event) -> Result:
    """The set goes on without them; nothing is started elsewhere before such a host answers or is fenced."""
    members = tuple(
        member._replace(has_given_up=member.has_given_up or member.host in event.lost)
        for member in context.members
    )
    hosts = tuple(host for host in context.hosts if host not in event.lost)
    return state, context._replace(members=members, hosts=hosts, is_degraded=True), []


def _nodes_gone(_: str, context: Context, __: Event) -> Result:
    """The site has removed all of its nodes: nothing of it runs, and its job only keeps hosts, or waits for them."""
    reason = context.reason or (USER if context.is_cancelled else REMOVED)
    return _finish(context._replace(reason=reason, job_gone=context.job_gone or not context.is_issued), [])


def _lost_ending(_: str, context: Context, __: Event) -> Result:
    return _finish(context._replace(job_gone=True), [])


def _node_on(_: str, context: Context, event: Event) -> Result:
    context = _changed(context, event.node, is_on=True, is_free=False)
    if not context.is_ready and all(member.is_on for member in context.members):
        return RUNNING, context._replace(is_ready=True), [Action("ready")]
    return RUNNING, context, []


def _node_on_ending(_: str, context: Context, event: Event) -> Result:
    context = _changed(context, event.node, is_on=True, is_free=False)
    return ENDING, context._replace(is_released=False), [Action("shutdown", node=event.node)]


def _node_on_ended(state: str, context: Context, event: Event) -> Result:
    return state, context, [Action("alarm", text="vm-on-without-job"), Action("poweroff", node=event.node)]


def _start_failed(_: str, context: Context, event: Event) -> Result:
    member = next(one for one in context.members if one.id == event.node)
    if member.has_given_up:
        return RUNNING, context, []
    tries = member.tries + 1
    if tries < MAX_SET_TRIES:
        again = Action("start", node=member.id, host=member.host, delay_seconds=5.0 * 2**member.tries)
        return RUNNING, _changed(context, member.id, tries=tries), [again]
    context = _changed(context, member.id, tries=tries, has_given_up=True)._replace(is_degraded=True)
    if all(one.has_given_up for one in context.members):
        return _end(context, START_FAILED, "poweroff")
    return RUNNING, context, []


def _node_off(state: str, context: Context, event: Event) -> Result:
    context = _changed(context, event.node, is_on=False)
    return _finish(context, []) if state == ENDING else (state, context, [])


def _image_free(state: str, context: Context, event: Event) -> Result:
    context = _changed(context, event.node, is_free=True)
    return _finish(context, []) if state == ENDING else (state, context, [])


def _grace_over(_: str, context: Context, __: Event) -> Result:
    return ENDING, context, _of_running(context)


def _sync_over(_: str, context: Context, __: Event) -> Result:
    return ENDING, context, [Action("alarm", text="image-sync-timeout")]


def _changed(context: Context, node: int | None, **values: object) -> Context:
    members = tuple(
        member._replace(**values) if member.id == node else member  # type: ignore[arg-type]
        for member in context.members
    )
    return context._replace(members=members)


def _finish(context: Context, actions: list[Action]) -> Result:
    """ENDING until every node is off, every image written back, and the job is gone; then a terminal state."""
    if any(member.is_on or not member.is_free for member in context.members):
        return ENDING, context, actions
    context = context._replace(is_released=True)
    if not context.job_gone:
        return ENDING, context, actions
    final = CANCELLED if context.reason == USER else FAILED if context.reason in _FAILURES else COMPLETED
    return final, context, [*actions, Action("release")]


TABLE: dict[tuple[str, str], Handler] = {
    (CREATED, "submit_ok"): _submitted,
    (CREATED, "submit_reject"): _rejected,
    (CREATED, "allocated"): _allocated,
    (CREATED, "cancel"): _cancel_created,
    (CREATED, "nodes_gone"): _nodes_gone,
    (CREATED, "job_gone"): _lost_early,
    (CREATED, ABSENT): _absent_early,
    (SUBMITTED, "submit_ok"): _job_known,
    (SUBMITTED, "submit_reject"): _rejected,
    (SUBMITTED, ABSENT): _absent_early,
    (SUBMITTED, "allocated"): _allocated,
    (SUBMITTED, "cancel"): _cancel_submitted,
    (SUBMITTED, "nodes_gone"): _nodes_gone,
    (SUBMITTED, "job_gone"): _lost_submitted,
    (RUNNING, "allocated"): _allocated_again,
    (RUNNING, "cancel"): _cancel_running,
    (RUNNING, WARNING): _warning,
    (RUNNING, WALLTIME): _walltime,
    (RUNNING, "job_gone"): _lost_running,
    (RUNNING, ABSENT): _lost_running,
    (RUNNING, "hosts_lost"): _hosts_lost,
    (RUNNING, "nodes_gone"): _nodes_gone,
    (RUNNING, "node_active"): _node_on,
    (RUNNING, "start_failed"): _start_failed,
    (RUNNING, "node_off"): _node_off,
    (RUNNING, "image_free"): _image_free,
    (ENDING, "allocated"): _job_known,
    (ENDING, "cancel"): _cancel_ending,
    (ENDING, "job_gone"): _lost_ending,
    (ENDING, ABSENT): _lost_ending,
    (ENDING, "node_active"): _node_on_ending,
    (ENDING, "node_off"): _node_off,
    (ENDING, "image_free"): _image_free,
    (ENDING, GRACE): _grace_over,
    (ENDING, SYNC): _sync_over,
    ("*", "allocated"): _job_known,
    ("*", "node_active"): _node_on_ended,
}
"""(state, kind of event) → what follows; `*` is every terminal state. What has no row changes nothing.

The rows of `*` are for what comes in the round in which a set ends; afterwards the controller reads it no more, and a
machine of it that is on is only reported (`alarms`).
"""


def to_json_object(context: Context) -> JsonObject:
    """For the database."""
    return {**context._asdict(), "members": [member._asdict() for member in context.members]}


def from_json_object(stored: JsonObject, node_ids: tuple[int, ...]) -> Context:
    """From the database; that of a set that was never driven has none of it."""
    if "members" not in stored:
        return Context(tuple(Member(one) for one in node_ids))
    known = {key: value for key, value in stored.items() if key in Context._fields}
    members = tuple(Member(**one) for one in known.pop("members"))
    known["hosts"] = tuple(known.get("hosts", ()))
    return Context(members, **known)


def placed(members: list[tuple[int, str | None]], hosts: list[str]) -> tuple[tuple[int, str], ...]:
    """(member, host) of each: the host where it ran last if that is in the list, else in order; () if they do not fit.

    `members`: number and last host, in natural order of their names.
    """
    if len(members) != len(hosts) or len(set(hosts)) != len(hosts):
        return ()
    free = list(hosts)
    chosen: dict[int, str] = {}
    for number, last in members:
        if last in free:
            chosen[number] = last
            free.remove(last)
    return tuple((number, chosen.get(number) or free.pop(0)) for number, _ in members)


# What a round has read of a computeset, and the events that follow from it; pure.


_PREFERENCE = (RUNNING, PENDING, UNKNOWN, ENDED)


class Seen(NamedTuple):
    """What a round has read of a set. `nodes` and `busy`, those of which an operation is queued or runs: of all sets.

    `job` is None when the batch system has none, and of state UNKNOWN when it does not answer.
    """

    one: Computeset
    context: Context
    notes: JsonObject
    """The controller's: name of a timer → when it is due, and what it has dealt with."""
    cluster: Cluster | None
    nodes: dict[int, MemberNode]
    busy: set[int]
    failed: list[tuple[str, int]]
    """(operation, node) of starts that have failed."""
    job: Job | None

    @property
    def project_id(self) -> int | None:
        """Whose set it is; None: the operators' own."""
        return self.cluster.project_id if self.cluster else None

    def event(
        self, kind: str, target: str, old: str | None, new: str | None, operation: str | None = None
    ) -> NewEvent:
        """For those who watch the set."""
        return NewEvent(kind, target, old, new, self.project_id, self.one.cluster_id, operation)


def _order(job: Job) -> tuple[int, int]:
    return _PREFERENCE.index(job.state), -job.id if job.state == ENDED else job.id


def jobs_by_name(jobs: Iterable[Job]) -> tuple[dict[str, Job], list[Job]]:
    """Name → its job, and the other jobs of names that have several: of those that wait the first one counts.

    Of those that have ended, the last one does.

    A submission whose answer was lost may be repeated, and then the batch system runs one at a time.
    """
    found: dict[str, Job] = {}
    doubles = []
    for job in sorted(jobs, key=_order):
        if found.setdefault(job.name, job) is not job:
            doubles.append(job)
    return found, doubles


def is_absent(seen: Seen) -> bool:
    """Whether the batch system answers, and does not have the job that the set was submitted as.

    A set that ends, or is taken back before, may have been submitted by an answer that was lost.
    """
    is_over = seen.one.state == ENDING or (seen.one.state == CREATED and seen.context.is_cancelled)
    may_have_job = seen.one.jobid is not None or (is_over and seen.context.is_issued)
    return seen.job is None and may_have_job and not seen.context.job_gone


def job_events(seen: Seen) -> list[Event]:
    """What has happened to the job; that it is absent the controller reports after a while."""
    one, context, job = seen.one, seen.context, seen.job
    if job is None or job.state == UNKNOWN:
        return []
    found = []
    if one.state == CREATED or (one.state == SUBMITTED and one.jobid is None):
        found.append(Event("submit_ok", jobid=job.id))
    if job.state == RUNNING and one.state in (CREATED, SUBMITTED, RUNNING):
        hosts, known = set(job.hosts), set(context.hosts)
        if hosts < known and job.id == context.jobid:
            found.append(Event("hosts_lost", jobid=job.id, lost=tuple(sorted(known - hosts))))
        elif hosts != known:
            requested = one.context.get("requested") or ()
            last = {number: node.physical_host for number, node in seen.nodes.items()}
            if set(requested) == hosts:  # an operator has paired them with the nodes
                last = dict(zip(one.node_ids, requested, strict=False))
            members = [(number, last.get(number)) for number in one.node_ids]
            found.append(Event("allocated", jobid=job.id, hosts=placed(members, list(job.hosts))))
    elif job.state == PENDING and one.state == RUNNING:
        found.append(Event("allocated", jobid=job.id))  # it was requeued: its hosts may be others' by now
    elif job.state == ENDED and not context.job_gone:
        found.append(Event("job_gone", reason=job.reason or LOST))
    return found


def facts_of_job(seen: Seen, state: str, notes: JsonObject) -> dict[str, Any]:
    """Column → value of what owners see of the job of a set that is in the state now, where it has changed."""
    job, found = seen.job, dict[str, Any]()
    if state not in (CREATED, SUBMITTED):
        found = dict.fromkeys(("waiting", "place", "estimated_start"))
    elif job is not None and job.state == PENDING:
        found = {
            "waiting": job.waiting or None,
            "place": job.place,
            "estimated_start": _moment(job.starts_at),
        }
    elif job is not None and job.state == UNKNOWN and job.waiting:
        found = {"waiting": job.waiting, "place": None, "estimated_start": None}
    if state == RUNNING and WALLTIME in notes:
        found["walltime_end"] = _moment(notes[WALLTIME]["at"])
    return {name: value for name, value in found.items() if getattr(seen.one, name) != value}


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(round(seconds), UTC)


def are_nodes_gone(seen: Seen) -> bool:
    """Whether the site has removed every node of the set, with its cluster; of a set that waits, only that counts.

    Nodes that leave a cluster that is still there, as by another VLAN, may run on.
    """
    nodes = [seen.nodes.get(number) for number in seen.one.node_ids]
    is_left = seen.cluster is not None and seen.cluster.gone_at is None
    return not is_left and all(node is None or node.gone_at is not None for node in nodes)


def node_events(member: Member, seen: Seen) -> list[Event]:
    """What has happened to a node of the set."""
    node = seen.nodes.get(member.id)
    if node is None or node.gone_at is not None:  # removed from the site: it neither runs nor has an image
        off = [Event("node_off", node=member.id)] * member.is_on
        return off + [Event("image_free", node=member.id)] * (not member.is_free)
    is_ending = seen.one.state == ENDING
    # neither shuts down nor leaves its images by itself: only what is on is powered off
    if node.state == ACTIVE or (is_ending and node.state in (PAUSED, CRASHED)):
        is_known = member.is_on or (is_ending and node.id in seen.busy)
        return [] if is_known else [Event("node_active", node=member.id)]
    has_host = member.is_on or node.physical_host is not None  # one that was seen on had a host
    if not is_off(node.state, has_host=has_host) or node.id in seen.busy:
        return []
    found = [Event("node_off", node=member.id)] if member.is_on else []
    is_free = is_image_free(node.image_state, node.image_locked) and _is_current(node)
    if is_free and not member.is_free:
        found.append(Event("image_free", node=member.id))
    return found


def _is_current(node: MemberNode) -> bool:
    """Whether power and image were listed after the last command of the node: before, its image may still be mapped."""
    if node.observed_image is None or node.observed_power is None:
        return False
    return (
        node.last_command_at is None or min(node.observed_image, node.observed_power) > node.last_command_at
    )
