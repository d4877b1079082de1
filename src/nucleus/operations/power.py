"""Power of one node, and its removal. What is so is not done again, so that a repetition does no harm.

A command of `rocks` prints the state that it left: an operation is one process of it.

A reset or a reboot leaves nothing that can be read, so it is never issued twice: when its worker was killed
in between, the operation fails and says so. To repeat it would reset a guest that just boots; to report
success would be a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import clusters
from nucleus.mirror.events import append_events
from nucleus.operations.causes import RefusedError
from nucleus.records import SYSTEM, JsonObject, NewEvent
from nucleus.states import ACTIVE, CRASHED, is_image_free, is_off, power_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from nucleus.backends.rocks_output import State
    from nucleus.mirror.pool import Session
    from nucleus.operations.job import Job
    from nucleus.records import Node


_BEGUN, _DONE = "begun", "done"


def power_on(job: Job, before: Callable[[Job], None] = lambda _: None) -> JsonObject:
    """Start the node where it is, unless it runs. `before`: what is done first."""
    if job.reached("start", _is_active):
        return {"state": ACTIVE}
    before(job)
    return start(job)


def start(job: Job) -> JsonObject:
    """Start the node, which may run already."""
    state, error = job.act("start", job.rocks.start)
    if error is not None and state != ACTIVE:  # else started before a worker was killed, or by an operator
        raise error
    return {"state": job.confirm(state, _is_active, "on")}


def stop(job: Job, action: str) -> JsonObject:
    """Have the node off, unless it is: by poweroff, or by shutdown, after which `rocks` powers a deaf guest off."""
    state = job.reached("stop", has_ended) or request_stop(job, "stop", action)
    return {"state": job.confirm(state, has_ended, "off")}


def request_stop(job: Job, step: str, action: str, seconds: int | None = None) -> str | None:
    """Have `rocks` stop the node: the state afterwards. The error of `rocks`."""
    state, error = job.act(step, lambda name: job.rocks.stop(name, action, seconds))
    if error is not None:
        raise error
    return state


def has_ended(state: str | None) -> bool:
    """Whether the machine is off, and has left its images: one that has crashed keeps them until it is stopped."""
    return is_off(state) and state != CRASHED


def _is_active(state: str | None) -> bool:
    return state == ACTIVE


def stop_once(job: Job, action: str, before: Callable[[Job], None] = lambda _: None) -> JsonObject:
    """Press the reset button, or have the guest reboot, once: what may have been done is not repeated.

    `before`: what is done first.
    """
    if job.has(_DONE):
        return {"state": job.read_state()}
    if job.has(_BEGUN):
        raise RefusedError(
            f"Nucleus was stopped during the {action} of {job.target.name}, which may have been done;"
            f" look at the node, and repeat the {action} if it was not"
        )
    before(job)
    if job.target.state != ACTIVE:
        job.read_state()
    # where the host did not say, it decides: an unknown state is no refusal
    may_run = power_of(job.target.state, has_host=job.target.physical_host is not None) in ("on", "unknown")
    state = request_stop(job, _BEGUN, action) if may_run else None
    if not may_run or is_off(state):
        raise RefusedError(f"{job.target.name} is not running; power it on instead")
    job.store(_DONE)
    return {"state": state}


def destroy(job: Job) -> JsonObject:
    """Remove the node, or without one the cluster, whose machines are off with their images on the NAS."""
    cluster = job.cluster
    if (
        cluster is None
        or cluster.gone_at is not None
        or (job.node is not None and job.node.gone_at is not None)
    ):
        return {}  # removed before a worker was killed
    found = job.transaction(lambda session: clusters.nodes_of(session, SYSTEM, [cluster.id])[cluster.id])
    removed = found if job.node is None else [job.node]
    there = removed
    if job.has("remove"):
        # it may have been done: a machine that is gone has no state, and is not removed twice
        listed = job.rocks.list_machines()
        there = [node for node in removed if node.rocks_name in listed]
    for node in there:
        # one of which nothing is printed may run, and would be stopped
        check_unused(node, job.rocks.read_state(node.machine))
    job.store("remove")
    if there and job.node is None:
        frontends = [node.machine for node in there if node.kind == "frontend"]
        job.rocks.remove_cluster(frontends[0] if frontends else cluster.rocks_name)
    elif there:
        job.rocks.remove_machine(there[0].machine)
    numbers, is_cluster = [node.id for node in removed], job.node is None
    events = [
        NewEvent("node.removed", f"{cluster.name}/{node.name}", None, None, cluster.project_id, cluster.id)
        for node in removed
    ]

    def remove(session: Session) -> None:
        clusters.remove_nodes(session, cluster.id, numbers, with_cluster=is_cluster)
        append_events(session, events)

    job.transaction(remove)
    return {}


def check_unused(node: Node, seen: State) -> None:
    """RefusedError unless the machine is off with its image on the NAS."""
    if (power := power_of(seen.state, has_host=node.physical_host is not None)) not in ("off", "crashed"):
        raise RefusedError(f"the power of {node.name} is {power}; power it off first")
    if node.set_id is not None or not is_image_free(node.image_state, node.image_locked):
        raise RefusedError(
            f"{node.name} is in use: its computeset has not ended, or its disk is being transferred; wait for that,"
            " and try again"
        )
