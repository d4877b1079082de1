"""Power of one node, and its removal. Each reads first, so that a repetition does no harm.

A reset or a reboot leaves nothing that can be read, so it is never issued twice: when its worker was killed
in between, the operation fails and says so. To repeat it would reset a guest that just boots; to report
success would be a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import clusters, computesets
from nucleus.records import SYSTEM, JsonObject
from nucleus.states import ACTIVE, RUNNING, is_image_free, is_off
from rocks.core.errors import HostError, StateError, ToolError

if TYPE_CHECKING:
    from nucleus.operations.job import Job

_BEGUN, _DONE = "begun", "done"
_LONGEST_GRACE_SECONDS = 3600


def power_on(job: Job) -> JsonObject:
    """Start the node where it is, unless it runs."""
    if job.read_state() == ACTIVE:
        return {"state": ACTIVE}
    if job.operation.target_set is not None:
        _check_set(job)
    job.begin_command("start")
    try:
        job.rocks.start(job.target.rocks_name)
    except (ToolError, HostError):
        if job.read_state() != ACTIVE:  # started before a worker was killed, or by an operator
            raise
    return {"state": job.confirm(lambda state: state == ACTIVE, "active")}


def start_member(job: Job) -> JsonObject:
    """Start a node of a computeset on the host of the arguments, unless it runs there."""
    host = str(job.operation.arguments["host"])
    if job.read_state() == ACTIVE and job.target.physical_host == host:
        return {"state": ACTIVE, "host": host}
    _check_set(job)
    if job.target.physical_host != host:
        job.begin_command("place")
        job.rocks.place(job.target.rocks_name, host)
    return {"host": host, **power_on(job)}


def _check_set(job: Job) -> None:
    """StateError when the set has ended, or ends: nothing of it is started any more."""
    number = job.operation.target_set
    assert number is not None
    found = job.transaction(lambda session: computesets.find_computeset(session, SYSTEM, number))
    if found is None or found.state != RUNNING or found.cancel_requested:
        raise StateError(
            f"the computeset {number} is {found.state if found else 'gone'}; its nodes are not started"
        )


def power_off(job: Job) -> JsonObject:
    """Power the node off, unless it is off."""
    return _stop(job, "poweroff")


def shut_down(job: Job) -> JsonObject:
    """Have the guest shut down; `rocks` powers it off when it does not."""
    return _stop(job, "shutdown")


def ask_to_shut_down(job: Job) -> JsonObject:
    """Have the guest of a computeset that ends shut down; `rocks` powers it off after the seconds of the arguments."""
    state = job.read_state()
    if not is_off(state):
        job.begin_command("stop")
        seconds = min(max(1, int(str(job.operation.arguments.get("seconds", 1)))), _LONGEST_GRACE_SECONDS)
        job.rocks.stop(job.target.rocks_name, "shutdown", seconds)
        state = job.read_state()
    return {"state": state}


def _stop(job: Job, action: str) -> JsonObject:
    state = job.read_state()
    if not is_off(state):
        job.begin_command("stop")
        job.rocks.stop(job.target.rocks_name, action)
        state = job.confirm(is_off, "off")
    return {"state": state}


def reset(job: Job) -> JsonObject:
    """Press the reset button, once: what may have been done is not repeated."""
    return _once(job, "reset")


def reboot(job: Job) -> JsonObject:
    """Have the guest restart, once."""
    return _once(job, "reboot")


def _once(job: Job, action: str) -> JsonObject:
    if not job.has(_DONE):
        if job.has(_BEGUN):
            raise StateError(
                f"Nucleus was stopped during the {action} of {job.target.name}, which may have been done;"
                f" look at the node, and repeat the {action} if it was not"
            )
        if job.read_state() != ACTIVE:
            raise StateError(f"{job.target.name} is not running; power it on instead")
        job.begin_command(_BEGUN)
        job.rocks.stop(job.target.rocks_name, action)
        job.store(_DONE)
    return {"state": job.read_state()}


def destroy(job: Job) -> JsonObject:
    """Remove the node, or without one the cluster, whose machines are off with their images on the NAS."""
    cluster = job.cluster
    if (
        cluster is None
        or cluster.gone_at is not None
        or (job.node is not None and job.node.gone_at is not None)
    ):
        return {}  # removed before a worker was killed
    found = job.transaction(lambda session: clusters.nodes_of(session, SYSTEM, [cluster.id]))[cluster.id]
    for node in found if job.node is None else [job.node]:
        state = job.rocks.read_states([node.rocks_name]).get(node.rocks_name, (None, "nostate"))[1]
        if node.set_id is not None or not is_image_free(node.image_state, node.image_locked):
            raise StateError(f"{node.name} is in use: its computeset or its image has not ended")
        if not is_off(state) and node.physical_host is not None:
            raise StateError(f"{node.name} is {state}; power it off first")
    job.store("remove")
    if job.node is None:
        job.rocks.remove_cluster(cluster.rocks_name)
    else:
        job.rocks.remove_machine(job.node.rocks_name)
    return {}
