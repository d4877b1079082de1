"""One operation for many nodes: it stores one for each, and ends when those have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import operations
from nucleus.mirror.events import WORK
from nucleus.operations.job import LaterError
from nucleus.records import JsonObject, NewOperation, Operation
from nucleus.states import ENDED_OPERATIONS, SUCCEEDED
from rocks.core.errors import HostError

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session
    from nucleus.operations.job import Job

_LOOK_SECONDS = 1.0


def of_each_node(job: Job, kind: str) -> JsonObject:
    """Have `kind` done for every node of the arguments. HostError with the number of nodes on which it failed."""
    parent = job.operation
    children = job.transaction(lambda session: _children(session, parent, kind))
    WORK.give()
    if any(child.state not in ENDED_OPERATIONS for child in children):
        raise LaterError(_LOOK_SECONDS)
    results = {
        str(child.target_node): {"state": child.state, "result": child.result, "error": child.error}
        for child in children
    }
    failed = [child for child in children if child.state != SUCCEEDED]
    if failed:
        first = (failed[0].error or {}).get("detail", failed[0].state)
        raise HostError(f"{kind} failed on {len(failed)} of {len(children)} nodes; the first: {first}")
    return {"nodes": results}


def _children(session: Session, parent: Operation, kind: str) -> list[Operation]:
    arguments = {key: value for key, value in parent.arguments.items() if key != "nodes"}
    return [
        operations.insert_operation(
            session,
            NewOperation(
                kind, parent.actor, parent.target_cluster, node, parent.target_set, parent.token_id, parent.project_id,
                arguments, unique_key=f"{parent.id}/{node}",
            ),
        )
        for node in parent.arguments["nodes"]
    ]  # fmt: skip
