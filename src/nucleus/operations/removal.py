"""Clusters and computes that their owners destroy. Their disks stay, for the operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import clusters
from nucleus.records import SYSTEM, JsonObject
from nucleus.states import is_image_free, is_off
from rocks.core.errors import StateError

if TYPE_CHECKING:
    from nucleus.operations.job import Job


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
