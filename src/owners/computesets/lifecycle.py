"""The life of a computeset: `step(state, context, event)` is pure, and TABLE is all of it.

An event that has no row in a state changes nothing. Times are not known here: an action starts a timer by its name, and
the controller reports when it is due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nucleus.records import JsonObject
from nucleus.states import CANCELLED, COMPLETED, CREATED, ENDED_SETS, ENDING, FAILED, RUNNING, SUBMITTED

MAX_SET_TRIES = 3
"""After so many failed starts of a machine, or lost jobs before it has hosts, a computeset is given up."""

GRACE, SYNC, WALLTIME, ABSENT = "grace_timeout", "sync_timeout", "walltime", "job_absent"
"""Names of timers, which are the kinds of their events."""

USER, LOST, REQUEUED, PLACEMENT, START_FAILED = "user", "lost", "requeued", "placement", "start_failed"
REMOVED = "removed"
OPERATOR, PREEMPTED, NODE, LIMIT, TIMEOUT = "operator", "preempted", "node", "limit", "timeout"
"""Reasons of an end; besides, `walltime`. Those of the last line the batch system reports of a job."""

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
    """Something that happened. `node` is a member's number; `how` of cancel is shutdown or poweroff.

    `hosts` of `allocated`: (member, host) as they were placed; empty where they do not fit. `lost` of `hosts_lost`:
    hosts that the batch system took from the job, which goes on without them.
    """

    kind: str
    jobid: int | None = None
    hosts: tuple[tuple[int, str], ...] = ()
    node: int | None = None
    how: str = ""
    lost: tuple[str, ...] = ()


class Action(NamedTuple):
    """What follows from an event: start, shutdown, poweroff, timer, ready, release, alarm.

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
    return FAILED, context._replace(reason=context.reason or event.how, is_released=True), [Action("release")]


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
    return _end(context._replace(is_cancelled=True), USER, event.how or "shutdown")


def _cancel_ending(_: str, context: Context, event: Event) -> Result:
    """Again; a request to power off overtakes the shutdown."""
    context = context._replace(is_cancelled=True)
    return ENDING, context, _of_running(context) if event.how == "poweroff" else []


def _walltime(_: str, context: Context, __: Event) -> Result:
    return _end(context, WALLTIME, "shutdown")


def _end(context: Context, reason: str, how: str) -> Result:
    context = context._replace(reason=context.reason or reason)
    timers = [Action("timer", text=GRACE), Action("timer", text=SYNC)]
    # every member, also one that is off: its start may be in progress
    stops = [Action(how, node=member.id) for member in context.members]
    return _finish(context, [*timers, *stops])


def _of_running(context: Context) -> list[Action]:
    return [Action("poweroff", node=member.id) for member in context.members if member.is_on]


def _lost_early(_: str, context: Context, event: Event) -> Result:
    reason = USER if context.is_cancelled else event.how or LOST
    context = context._replace(job_gone=True, reason=reason, is_released=True)
    return CANCELLED if context.is_cancelled else FAILED, context, [Action("release")]


def _lost_submitted(state: str, context: Context, event: Event) -> Result:
    """Hosts may refuse a job whose number they know: a scheduler that was killed gives it again. It is replaced."""
    if event.how not in ("", LOST) or context.is_cancelled:
        return _lost_early(state, context, event)
    if context.jobid is None:  # that is known already
        return state, context, []
    context = context._replace(jobid=None, lost_jobs=context.lost_jobs + 1)
    return (state, context, []) if context.lost_jobs < MAX_SET_TRIES else _lost_early(state, context, event)


def _lost_running(_: str, context: Context, event: Event) -> Result:
    return _end(context._replace(job_gone=True), event.how or LOST, "poweroff")


def _absent_early(state: str, context: Context, event: Event) -> Result:
    """It never had hosts: its job is submitted again, by the same name, unless it was taken back.

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
    """Ending, and over when every node is off, every image written back, and the job is gone."""
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
machine of it that is on is only reported (`checks`).
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
