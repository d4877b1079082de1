"""Operations: what became of a change, waiting for its end, and taking it back while nobody has begun it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from nucleus.api import models
from nucleus.api.clusters import Cursor, Fields
from nucleus.api.decorators import changes, reads, route, until_ended
from nucleus.api.etags import (
    conditional_json,
    etag_of,
    is_unchanged,
    json_answer,
    not_modified,
    require_match,
)
from nucleus.api.paging import chosen, page_of, paged
from nucleus.api.problems import Problem, Remedy, conflict
from nucleus.api.representations import Json, operation_json
from nucleus.api.service import Call, Change, Known, Reading, find_cluster, no_content, reading, unknown_node
from nucleus.limits import LONGEST_WAIT_SECONDS, MAX_PER_PAGE
from nucleus.mirror import clusters, operations
from nucleus.mirror.columns import same_name
from nucleus.records import NewEvent
from nucleus.states import CANCELLED, ENDED_OPERATIONS, QUEUED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.records import Operation

router = APIRouter()

_WAIT = f"seconds to wait for its end; more than {LONGEST_WAIT_SECONDS} are {LONGEST_WAIT_SECONDS}"

OperationId = Annotated[str, Path(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]


def operations_json(reading: Reading, found: Sequence[Operation]) -> list[Json]:
    """Their representations, with the names of what they are about."""
    session, _, scope = reading
    nodes = clusters.nodes_by_id(session, scope, {one.target_node for one in found if one.target_node})
    ids = {one.target_cluster for one in found if one.target_cluster}
    names = clusters.clusters_by_id(session, scope, ids)
    answers = []
    for one in found:
        cluster = names.get(one.target_cluster or 0)
        node = nodes.get(one.target_node or 0)
        called = cluster.name if cluster else None, node.name if node else None
        answers.append(operation_json(one, *called, scope.is_operator))
    return answers


@route(router, "GET /v1/operation", "list_operations", "Your operations", list[models.Operation])
@reads
def list_operations(
    reading: Reading,
    target: Annotated[str | None, Query(max_length=260, description="CLUSTER or CLUSTER/NODE")] = None,
    computeset: Annotated[int | None, Query(ge=1, le=0x7FFFFFFF)] = None,
    state: Annotated[list[models.OperationState] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PER_PAGE)] = 100,
    cursor: Cursor = None,
    fields: Fields = None,
) -> Response:
    """The newest first, a page at a time."""
    page, request = page_of(limit, cursor), reading.call.request
    cluster_id, node_id = (None, None) if target is None else _target(reading, target)
    found = operations.list_operations(
        reading.session, reading.scope, states=tuple(state or ()), cluster_id=cluster_id, node_id=node_id,
        set_id=computeset, before=page.after, limit=limit + 1,
    )  # fmt: skip
    _, headers = paged(request, page._replace(after=None), [one.id for one in found], str)
    return conditional_json(request, chosen(operations_json(reading, found[:limit]), fields), headers)


def _target(reading: Reading, target: str) -> tuple[int, int | None]:
    c, _, n = target.partition("/")
    cluster = find_cluster(reading, c)
    if not n:
        return cluster.id, None
    for name in (n, None):
        node = clusters.find_node(reading.session, reading.scope, cluster.id, name)
        if node is not None and same_name(node.name, n):
            return cluster.id, node.id
    raise unknown_node(cluster.name, n)


@route(router, "GET /v1/operation/{id}", "get_operation", "An operation", models.Operation)
async def get_operation(
    call: Known,
    id: OperationId,
    wait: Annotated[int, Query(ge=0, le=60, description=_WAIT)] = 0,
) -> Response:
    """An operation; with `wait`, when it has ended, or after so many seconds."""
    if wait == 0:
        return (await run_in_threadpool(_look, call, id))[0]
    waits, user = call.service.waits, call.caller.user.id
    try:
        waits.take(user)
    except Problem:  # this person has too many: the answer comes at once, and the client asks again
        return (await run_in_threadpool(_look, call, id))[0]
    try:
        seconds = min(wait, LONGEST_WAIT_SECONDS)
        return await until_ended(call, id, seconds, functools.partial(_look, call, id))
    finally:
        waits.give_back(user)


def _look(call: Call, identifier: str) -> tuple[Response, bool]:
    def read(reading: Reading) -> tuple[Response, bool]:
        found = _find(reading, identifier)
        has_ended = found.state in ENDED_OPERATIONS
        etag = etag_of(found.id, found.generation)
        if is_unchanged(call.request, etag):
            return not_modified(etag, {}), has_ended
        return json_answer(operations_json(reading, [found])[0], 200, {"ETag": etag}), has_ended

    return reading(call, read)


def _find(one: Reading | Change, identifier: str, *, lock: bool = False) -> Operation:
    found = operations.find_operation(one.session, one.scope, identifier, lock)
    if found is None:
        raise unknown_operation(identifier)
    return found


def unknown_operation(identifier: str) -> Problem:
    """The refusal of an operation that is not there, or not the caller's."""
    detail = f"there is no operation {identifier} of yours"
    return Problem("unknown-operation", detail, remedy=Remedy("list-operations"))


@route(router, "DELETE /v1/operation/{id}", "cancel_operation", "Cancel an operation", status_code=204)
@changes("power", "cancel_operation")
def cancel_operation(change: Change, id: OperationId) -> Response:
    """Only while it is queued: what has begun is not taken back."""
    found = _find(change, id, lock=True)
    require_match(change.call.request, etag_of(found.id, found.generation), "the operation")
    if found.state == CANCELLED:
        return no_content()
    if found.state != QUEUED or not operations.cancel_operation(change.session, change.scope, id):
        raise conflict(
            f"the operation is {found.state} and cannot be cancelled: it has begun or ended, or belongs to"
            " a computeset, which is ended instead",
            operation=found.id,
        )
    change.note(id)
    change.events.append(
        NewEvent("operation.state", id, QUEUED, CANCELLED, found.project_id, found.target_cluster, id)
    )
    return no_content()
