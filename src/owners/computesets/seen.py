"""What a round has read of a computeset, and the events that follow from it; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nucleus.records import NewEvent
from nucleus.states import (
    ACTIVE,
    CRASHED,
    CREATED,
    ENDED,
    ENDING,
    PAUSED,
    PENDING,
    RUNNING,
    SUBMITTED,
    UNKNOWN,
    is_image_free,
    is_off,
)
from owners.computesets import lifecycle
from owners.computesets.lifecycle import Context, Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nucleus.mirror.clusters import MemberNode
    from nucleus.records import Cluster, JsonObject
    from owners.computesets.batch import Job
    from owners.computesets.records import Computeset

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
            found.append(Event("allocated", jobid=job.id, hosts=lifecycle.placed(members, list(job.hosts))))
    elif job.state == PENDING and one.state == RUNNING:
        found.append(Event("allocated", jobid=job.id))  # it was requeued: its hosts may be others' by now
    elif job.state == ENDED and not context.job_gone:
        found.append(Event("job_gone", how=job.reason or lifecycle.LOST))
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
    if state == RUNNING and lifecycle.WALLTIME in notes:
        found["walltime_end"] = _moment(notes[lifecycle.WALLTIME]["at"])
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


def node_events(member: lifecycle.Member, seen: Seen) -> list[Event]:
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
