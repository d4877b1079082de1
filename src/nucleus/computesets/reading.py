"""Reads sets with what a round looks at, in a fixed number of statements however many they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.computesets import machine
from nucleus.computesets.seen import Seen
from nucleus.mirror import clusters, computesets, operations
from nucleus.records import SYSTEM
from nucleus.states import ENDING, RUNNING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nucleus.backends.batch import Job
    from nucleus.mirror.pool import Session
    from nucleus.records import Computeset

STARTS = "start_member"
"""The kind of operation that starts a node of a set."""


def read_sets(session: Session, sets: Sequence[Computeset], jobs: Mapping[str, Job]) -> list[Seen]:
    """The sets in their order, with their jobs by name. A set that waits for hosts has no nodes here."""
    placed = [one for one in sets if _has_hosts(one, jobs.get(one.name or ""))]
    node_ids = [number for one in placed for number in one.node_ids]
    timers = computesets.read_timers(session, [one.id for one in sets])
    by_id = clusters.clusters_by_id(session, SYSTEM, [one.cluster_id for one in sets])
    nodes = clusters.nodes_by_id(session, SYSTEM, node_ids)
    busy = operations.busy_nodes(session, node_ids)
    failed = operations.failed_operations(session, [one.id for one in placed], STARTS)
    return [
        Seen(
            one,
            machine.from_json_object(one.context, one.node_ids),
            timers.get(one.id, {}),
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
