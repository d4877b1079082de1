"""What workers do for computesets: start, shut down and reset their nodes, extend sets, send the mail before an end."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from comet.client.hostlists import collect_hostlist
from nucleus.mirror import clusters, identity
from nucleus.operations import mail, power
from nucleus.operations.causes import CancelledError, RefusedError
from nucleus.operations.power import has_ended, request_stop, start
from nucleus.operations.timers import moved
from nucleus.operations.worker import of_each_node
from nucleus.power_actions import RESTARTS
from nucleus.records import SYSTEM, JsonObject
from nucleus.states import ACTIVE, ENDED_SETS, RUNNING, is_ending
from owners.computesets import records
from owners.computesets.lifecycle import WALLTIME
from owners.computesets.slurm import Slurm
from rocks.core.clock import utc_now
from rocks.core.errors import HostError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage

    from nucleus.mirror.pool import Session
    from nucleus.operations.job import Job
    from owners.computesets.records import Computeset

LONGEST_GRACE_SECONDS = 3600
"""How long a guest may take to shut down."""


def start_member(job: Job) -> JsonObject:
    """Start a node of a computeset on the host of the arguments, unless it runs there."""
    if job.read_state() == ACTIVE and job.target.physical_host == job.operation.arguments["host"]:
        return {"state": ACTIVE}
    _place(job)
    return start(job)


def _place(job: Job) -> None:
    """Have a node of a computeset start on its host there, also one that operators have moved since.

    As `_check_set`; RefusedError also when the set has lost the host.
    """
    if job.operation.target_set is None:  # a frontend starts where it is
        return
    found = _check_set(job, "its nodes are not started")
    host = records.host_of(found, job.target.id)
    if host is None:
        raise RefusedError(
            f"the site took the host of {job.target.name} from computeset {found.id}: "
            f"run `comet terminate {found.id}`, then `comet start` with this node again"
        )
    if job.target.physical_host != host:
        job.begin_command("place")
        job.rocks.place(job.target.machine, host)


def _check_set(job: Job, outcome: str) -> Computeset:
    """The set, which runs. RefusedError when it has ended, or ends, and its hosts may be another's. CancelledError when
    its owner has ended it.
    """
    number = job.operation.target_set
    assert number is not None
    found = job.transaction(lambda session: records.find_part(session, number, job.target.id))
    if found is not None and found.cancel_requested:
        raise CancelledError(f"the computeset {number} was ended by its owner; {outcome}")
    if found is None or found.state != RUNNING:
        raise RefusedError(f"the computeset {number} is {found.state if found else 'gone'}; {outcome}")
    return found


def ask_to_shut_down(job: Job) -> JsonObject:
    """Have the guest of a computeset that ends shut down; `rocks` powers it off after the seconds of the arguments."""
    seconds = min(max(1, int(str(job.operation.arguments.get("seconds", 1)))), LONGEST_GRACE_SECONDS)
    return {"state": job.reached("stop", has_ended) or request_stop(job, "stop", "shutdown", seconds)}


def _check_running(job: Job, action: str) -> None:
    if job.operation.target_set is not None:
        _check_set(job, f"the {action} was not done")


def _once(job: Job, action: str) -> JsonObject:
    return power.stop_once(job, action, lambda job: _check_running(job, action))


def extend(job: Job) -> JsonObject:
    """Have a computeset that waits or runs have the walltime of the arguments, with all of its parts."""
    arguments = job.operation.arguments
    parts = arguments.get("parts", {str(job.operation.target_set): arguments["minutes"]})
    refused = []
    for number, minutes in parts.items():
        try:
            _extend(job, int(number), int(minutes))
        except RefusedError as error:  # a part that is refused, or has ended, leaves the others as they are
            refused.append(str(error))
    if refused:
        of_some = "" if len(refused) == len(parts) else "only a part is extended: "
        raise RefusedError(f"{of_some}{'; '.join(refused)}")
    return {"walltime_mins": int(str(arguments["minutes"]))}


def _extend(job: Job, number: int, minutes: int) -> None:
    """Have a set, or a part of one, run for so many minutes: its job, and its timer."""
    found = job.transaction(lambda session: _living_set(session, number, minutes))
    if job.tools.batch.kind == "slurm" and found.name is not None:
        if found.jobid is None:
            raise HostError(f"the job of computeset {found.id} is being submitted; try again later")
        try:
            Slurm(job.tools.batch).extend(found, minutes)
        except UserError as error:
            raise RefusedError(f"the computeset {found.id} is not extended: {error}") from None
    job.transaction(lambda session: _store_walltime(session, job, found, minutes))


def _living_set(session: Session, number: int, minutes: int) -> Computeset:
    """The set, locked. RefusedError when it has ended, or ends, or has more time by now."""
    found = records.find_computeset(session, SYSTEM, number, lock=True)
    if found is None or found.state in ENDED_SETS or is_ending(found.state, found.cancel_requested):
        raise RefusedError(f"the computeset {number} is ending or has ended; it is not extended")
    if found.walltime_minutes > minutes:
        raise RefusedError(f"the computeset {number} has {found.walltime_minutes} minutes already")
    return found


def _counted_project(session: Session, job: Job) -> identity.Project | None:
    """The project whose node hours are counted here, locked; None with Slurm, which counts itself."""
    if job.tools.batch.kind != "hosts" or job.cluster is None or job.cluster.project_id is None:
        return None
    return identity.project_by_id(session, job.cluster.project_id, is_locked=True)


def _store_walltime(session: Session, job: Job, before: Computeset, minutes: int) -> None:
    """HostError where its job was submitted meanwhile, with the walltime of before: it is tried again."""
    project = _counted_project(session, job)
    one = _living_set(session, before.id, minutes)
    if job.tools.batch.kind == "slurm" and (one.name, one.jobid) != (before.name, before.jobid):
        raise HostError(f"the job of computeset {one.id} was submitted meanwhile; try again later")
    limit = None if project is None else project.limits.get("node_hours")
    more = (minutes - one.walltime_minutes) * one.node_count
    if limit is not None and records.committed_minutes(session, one.account) + more > limit * 60:
        raise RefusedError(
            f"the computeset {one.id} is not extended: {one.account} has too few node hours left"
        )
    notes = records.read_notes(session, [one.id])[one.id]
    timer = notes.get(WALLTIME)
    if timer is not None:
        notes = {**notes, WALLTIME: moved(timer, (minutes - one.walltime_minutes) * 60)}
    columns = {"walltime_minutes": minutes, "notes": notes}
    if one.walltime_end is not None:  # the next request counts from it
        columns["walltime_end"] = one.walltime_end + timedelta(minutes=minutes - one.walltime_minutes)
    records.store_computeset(session, one.id, one.version, columns)


_SOON = timedelta(minutes=70)
"""A set that ends later needs no mail yet: its warning is due again an hour before that end."""


def warn(job: Job) -> JsonObject:
    """Send the mail about a set that ends soon to its owner; none where the set ends already, or without an address."""
    number = job.operation.target_set
    assert number is not None
    found = job.transaction(lambda session: _warned(session, number))
    if found is None or job.cluster is None:
        return {}
    one, nodes, email = found
    mail.send(job, _mail(job.tools.mail.sender, email, one, job.cluster.name, nodes))
    return {"email": email}


def _warned(session: Session, number: int) -> tuple[Computeset, str, str] | None:
    """The set, the nodes that end with it as a hostlist, and the mail address of the user who started it.

    None where it does not end soon any more, there is no address, or that user gets the mail of another part.
    """
    one = records.find_computeset(session, SYSTEM, number)
    if one is None or one.state != RUNNING or is_ending(one.state, one.cancel_requested):
        return None
    if one.walltime_end is None or not utc_now() < one.walltime_end < utc_now() + _SOON:
        return None  # it was extended while the mail waited
    user = identity.user_by_name(session, one.requested_by)
    if user is None or not user.is_active or not user.email:
        return None
    whole = one.merged_into or one.id
    parts = records.computesets_by_number(session, [whole]) + records.parts_of(session, [whole]).get(
        whole, []
    )
    ending = [part for part in parts if _ends_with(part, one)]
    if one.id != min(part.id for part in ending if part.requested_by == one.requested_by):
        return None
    node_ids = [node_id for part in ending for node_id in part.node_ids]
    nodes = clusters.nodes_by_id(session, SYSTEM, node_ids).values()
    return one, collect_hostlist([node.name for node in nodes]), user.email


def _ends_with(part: Computeset, one: Computeset) -> bool:
    if part.state != RUNNING or part.walltime_end is None or one.walltime_end is None:
        return False
    return abs(part.walltime_end - one.walltime_end) <= records.SAME_END


def _mail(sender: str, email: str, one: Computeset, cluster: str, nodes: str) -> EmailMessage:
    number, end = one.merged_into or one.id, f"{one.walltime_end:%Y-%m-%d %H:%M} UTC"
    text = (
        f"At {end}, these nodes of computeset {number}\nof your cluster {cluster} are shut down:\n{nodes}\n\n"
        f"To extend it by two hours: comet extend {number} +2h\n"
    )
    return mail.written(sender, email, f"Nodes of computeset {number} of {cluster} end at {end}", text)


VERBS: dict[str, Callable[[Job], JsonObject]] = {
    "poweron": partial(power.power_on, before=_place),
    **{name: partial(_once, action=name) for name in RESTARTS},
    "start_member": start_member,
    "shutdown_member": ask_to_shut_down,
    "poweroff_member": partial(power.stop, action="poweroff"),
    **{f"{name}_set": partial(of_each_node, kind=name) for name in RESTARTS},
    "extend_set": extend,
    "warn_set": warn,
}
"""Kind of an operation → what does it: some of single nodes, too, which may be in a set."""
