"""Computesets: rows 22 to 28 of Table 1 (`decorators.route`)."""

from __future__ import annotations

import bisect
from datetime import UTC
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from nucleus.api.clusters import Cursor, Fields, Limit, demand_cluster_stays
from nucleus.api.decorators import changes, reads, route
from nucleus.api.etags import conditional_json, json_answer
from nucleus.api.models import Answer, Time
from nucleus.api.nodes import demand_stays_on
from nucleus.api.paging import Page, chosen, number_of, page_of, paged
from nucleus.api.problems import Problem, conflict, invalid, is_legacy
from nucleus.api.quotas import demand_quota
from nucleus.api.representations import Json, compute_json, freshness_of, shaped
from nucleus.api.responsibility import demand_acknowledgement, demand_leader
from nucleus.api.service import Change, Reading, accepted, find_cluster, no_content
from nucleus.limits import MAX_PER_PAGE
from nucleus.mirror import clusters, operations
from nucleus.mirror.driver import DuplicateError
from nucleus.records import NewEvent
from nucleus.states import ENDED_SETS, ENDING, RUNNING, is_ending
from owners.computesets import models
from owners.computesets import records as computesets
from owners.computesets.new_computesets import (
    account_of,
    demand_few_sets,
    demand_free,
    demand_hosts,
    demand_node_hours,
    demand_reservation,
    requested_nodes,
    walltime_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.records import Cluster
    from owners.computesets.records import Computeset

MAX_NODES_PER_PAGE = 10_000
"""Nodes of the computesets in one answer, where some have ended; one computeset is answered whole."""

router = APIRouter()

SetId = Annotated[int, Path(ge=1, le=0x7FFFFFFF)]
States = Annotated[
    list[Literal[models.SetState, "queued"]] | None,
    Query(description="`queued`, which the published client asks for as well, is no set"),
]


def sets_json(one: Reading | Change, sets: Sequence[Computeset]) -> list[Json]:
    """The representations of sets, with few statements however many they are."""
    if not sets:
        return []
    session, call, scope = one.session, one.call, one.scope
    nodes = clusters.nodes_by_id(session, scope, [number for found in sets for number in found.node_ids])
    of_nodes = {node.cluster_id for node in nodes.values()}  # now; the cluster of a set may be gone
    by_id = clusters.clusters_by_id(session, scope, {found.cluster_id for found in sets} | of_nodes)
    interfaces = clusters.interfaces_of(session, scope, sorted(of_nodes))
    poll = call.service.configuration.poll
    freshness = {number: freshness_of(cluster, poll, call.now).fields for number, cluster in by_id.items()}
    answers, shapes = [], dict[int, Json]()
    for found in sets:
        cluster = by_id.get(found.cluster_id)
        if cluster is not None:
            for number in nodes.keys() & set(found.node_ids) - shapes.keys():  # many sets had the same node
                fields = freshness.get(nodes[number].cluster_id, freshness[cluster.id])
                shapes[number] = compute_json(nodes[number], cluster.name, interfaces.get(number, ()), fields)
            computes = [shapes[number] for number in found.node_ids if number in shapes]
            if found.charged_seconds is None and call.service.configuration.batch.kind == "hosts":
                so_far = found.charged_so_far_seconds  # of a batch system that the site has had
                found = found._replace(charged_seconds=found.used_seconds if so_far is None else so_far)
            answers.append(computeset_json(found, cluster.name, computes, scope.is_operator))
    return answers


@route(router, "GET /v1/computeset", "list_computesets", "Your computesets", list[models.Computeset])
@reads
def list_computesets(
    question: Reading,
    state: States = None,
    cluster: Annotated[str | None, Query(max_length=128)] = None,
    limit: Limit = None,
    cursor: Cursor = None,
    fields: Fields = None,
) -> Response:
    """Without `state` also those that have ended: then, without `limit`, the newest of all that there ever were.

    A page ends earlier where its sets have many nodes.
    """
    page, request = page_of(limit, cursor), question.call.request
    number = None if cluster is None else find_cluster(question, cluster).id
    found, headers = _found(question, page, state or (), number)
    return conditional_json(request, chosen(sets_json(question, found), fields), headers)


def _found(
    question: Reading, page: Page, states: Sequence[str], cluster: int | None
) -> tuple[list[Computeset], dict[str, str]]:
    """The sets of the page, and the header that leads to the next.

    Sets that have ended are kept for ever: of a list that may have them only a part is read.
    """
    asked = question.session, question.scope, states, cluster
    is_whole = page.limit is None and page.after is None
    if is_whole and states and not set(states) & set(ENDED_SETS):
        return computesets.list_computesets(*asked), {}
    after = None if is_whole else number_of(page.after or "")
    most = page.limit or MAX_PER_PAGE
    sizes = computesets.sizes_of_computesets(*asked, after, most + 1)
    numbers = [number for number, _ in sizes]
    count = min(most, _fitting([nodes for _, nodes in sizes]))
    headers = dict[str, str]()
    if not is_whole:
        page = Page(count or None, None)
        _, headers = paged(question.call.request, page, [str(number) for number in numbers], number_of)
    return computesets.computesets_by_number(question.session, numbers[:count]), headers


def _fitting(sizes: Sequence[int]) -> int:
    """How many sets are in one answer, with all their nodes: the first one, however large it is."""
    totals = list(accumulate(sizes))
    return max(bisect.bisect_right(totals, MAX_NODES_PER_PAGE), min(len(sizes), 1))


@route(router, "GET /v1/computeset/{s}", "get_computeset", "A computeset", models.Computeset)
@reads
def get_computeset(question: Reading, s: SetId, fields: Fields = None) -> Response:
    """Also one that has ended."""
    (content,) = sets_json(question, [find_set(question, s)])
    return conditional_json(question.call.request, chosen(content, fields))


def find_set(one: Reading | Change, number: int, *, lock: bool = False) -> Computeset:
    """The caller's set. Problem when there is none: also when it is somebody else's."""
    found = computesets.find_computeset(one.session, one.scope, number, lock)
    if found is None:
        raise unknown_set(number)
    return found


def unknown_set(number: int | str) -> Problem:
    """The refusal of a set that is not there, or not the caller's."""
    return Problem("unknown-set", f"there is no computeset {number} of yours; `comet computeset` lists them")


@route(
    router,
    "POST /v1/computeset",
    "start_computeset",
    "Start compute nodes together",
    models.Computeset,
    status_code=201,
)
@changes("computeset", "start_set")
def start_computeset(change: Change, body: models.NewComputeset) -> Response:
    """Everything is checked before anything exists."""
    call, session = change.call, change.session
    if body.reservation:
        demand_reservation(call, body.reservation)
    cluster = find_cluster(change, body.cluster, lock=True)
    demand_acknowledgement(call)
    demand_leader(change, cluster)
    leaving = demand_cluster_stays(change, cluster)
    nodes, hosts = requested_nodes(change, cluster, body, leaving)
    for node in nodes:
        demand_free(change, cluster, node)
    demand_cluster_stays(change, cluster, nodes)
    demand_hosts(change, len(nodes), hosts)
    walltime = walltime_of(call, body)
    account = account_of(change, cluster, body.allocation)
    demand_quota(change, cluster, nodes, walltime)
    demand_node_hours(change, cluster, len(nodes) * walltime, account)
    demand_few_sets(session, cluster)
    new = computesets.NewComputeset(
        cluster.id, tuple(node.id for node in nodes), cluster.username or call.caller.actor, account,
        body.reservation or None, walltime, call.caller.actor, {"hosts": hosts} if hosts else {},
    )  # fmt: skip
    try:
        number = computesets.insert_computeset(session, new)
    except DuplicateError:
        raise Problem(
            "node-busy", "another computeset has just taken one of these nodes; read the cluster again"
        ) from None
    clusters.bump_generation(session, [cluster.id])
    operation = change.ask("start_set", cluster, set_id=number, target=f"{cluster.name}/set {number}")
    change.count_nodes(len(nodes))
    change.events.append(
        NewEvent("set.state", str(number), None, "created", cluster.project_id, cluster.id, operation.id)
    )
    (content,) = sets_json(change, [find_set(change, number)])
    legacy = json_answer(content, 201, {"Location": call.url(f"/v1/computeset/{number}")})
    return accepted(change, operation, (cluster.name, None), legacy)


_SET_ACTIONS = {
    "poweroff": "Power the nodes of a set off, at once, and end it",
    "reboot": "Ask the systems of a set's nodes to reboot",
    "reset": "Reset the nodes of a set, at once",
    "shutdown": "Ask the systems of a set's nodes to shut down, and end the set",
}
"""Action → its summary; rows 25 to 28 of Table 1."""
_ENDING = ("poweroff", "shutdown")
_END, _RESTART = "A set that ends already is not ended anew.", "The set goes on."


def _declare(action: str, summary: str) -> None:
    def handler(change: Change, s: SetId) -> Response:
        return (_end if action in _ENDING else _restart)(change, s, action)

    handler.__doc__ = _END if action in _ENDING else _RESTART
    path = f"PUT /v1/computeset/{{s}}/{action}"
    route(router, path, f"computeset_{action}", summary, status_code=204)(
        changes("computeset", f"{action}_set")(handler)
    )


for _action, _summary in _SET_ACTIONS.items():
    _declare(_action, _summary)


def _end(change: Change, number: int, how: str) -> Response:
    """Idempotent while the set lives."""
    one, cluster = _set_with_cluster(change, number)
    if one.state in ENDED_SETS and not is_legacy(change.call.request):
        raise conflict(f"the computeset {number} has ended: it is {one.state}")
    if one.state in ENDED_SETS:
        return no_content()
    computesets.request_end(change.session, number, how)
    known = operations.list_operations(
        change.session, change.scope, states=("queued", "running"), set_id=number, kind="end_set"
    )
    target = f"{cluster.name}/set {number}"
    if known:
        ending = known[0]
        change.note(target, after=how)
    else:
        ending = change.ask("end_set", cluster, set_id=number, arguments={"how": how}, target=target)
    return accepted(change, ending, (cluster.name, None))


def _restart(change: Change, number: int, action: str) -> Response:
    """The set goes on."""
    one, cluster = _set_with_cluster(change, number)
    state = ENDING if is_ending(one.state, one.cancel_requested) else one.state
    if state != RUNNING:
        raise conflict(f"the computeset {number} is {state}; only a running one can {action}")
    demand_stays_on(change, list(clusters.nodes_by_id(change.session, change.scope, one.node_ids).values()))
    target, arguments = f"{cluster.name}/set {number}", {"nodes": list(one.node_ids)}
    operation = change.ask(f"{action}_set", cluster, set_id=number, arguments=arguments, target=target)
    return accepted(change, operation, (cluster.name, None))


def _set_with_cluster(change: Change, number: int) -> tuple[Computeset, Cluster]:
    one = find_set(change, number, lock=True)
    cluster = clusters.find_cluster_by_id(change.session, change.scope, one.cluster_id)
    if cluster is None:  # it left the caller's projects in this moment
        raise unknown_set(number)
    return one, cluster


def computeset_json(one: Computeset, cluster: str, computes: Sequence[Json], is_operator: bool) -> Json:
    """`models.Computeset`; operators get the fields of the workers, too."""
    content = shaped(
        models.Computeset,
        one,
        cluster=cluster,
        walltime_mins=one.walltime_minutes,
        start_time=None if one.start_time is None else int(one.start_time.timestamp()),
        computes=list(computes),
        nodes_ready=sum(compute["power"] == "on" for compute in computes) if one.state == RUNNING else 0,
        nodes_total=one.node_count,
    )
    if is_operator:
        content |= {name: getattr(one, name) for name in ("user", "jobid", "name", "nodelist", "node_count")}
    return content


class Charge(Answer):
    """What computesets that ended in a time were charged."""

    allocation: str
    project: str | None
    user: str = Field(description="who started them")
    cluster: str
    computesets: int
    charged_seconds: int = Field(
        description="of nodes; as the site's Slurm has charged them, where it has one"
    )


@route(router, "GET /v1/usage", "list_usage", "What your computesets were charged", list[Charge])
@reads
def list_usage(
    question: Reading,
    begin: Annotated[Time | None, Query(alias="from")] = None,
    end: Annotated[Time | None, Query(alias="to")] = None,
) -> Response:
    """By allocation, project, user and cluster: of those that ended at or after `from`, and before `to`."""
    if begin is not None and end is not None and end <= begin:
        raise invalid("`to` is not after `from`; choose a later one")
    span = [None if one is None else one.astimezone(UTC) for one in (begin, end)]
    found = computesets.charges(question.session, question.scope, *span)
    return conditional_json(question.call.request, [one._asdict() for one in found])
