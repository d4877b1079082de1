"""Computesets: rows 22 to 28 of Table 1 (`decorators.route`), and what a new one must satisfy."""

from __future__ import annotations

import bisect
import csv
import io
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field, StringConstraints
from starlette.responses import Response

from comet.client.hostlists import natural_key
from nucleus.api.clusters import Cursor, Fields, Limit, demand_cluster_stays
from nucleus.api.decorators import changes, reads, route, when_done
from nucleus.api.etags import conditional_json, json_answer
from nucleus.api.models import (
    EMPTY_IS_ABSENT,
    NO_BOOLEAN,
    RESERVATION_NAME,
    Answer,
    Compute,
    Moment,
    NumberText,
    Request,
    Text,
    Time,
)
from nucleus.api.nodes import demand_stays_on, named_nodes, nodes_by_name, seen_ago
from nucleus.api.paging import Page, chosen, number_of, page_of, paged
from nucleus.api.problems import Problem, conflict, forbidden, invalid, is_legacy, limited
from nucleus.api.quotas import REMEDIES, demand_quota, demand_walltime
from nucleus.api.representations import Json, compute_json, freshness_of, shaped, text_of
from nucleus.api.responsibility import demand_acknowledgement, demand_leader
from nucleus.api.service import Change, Known, Reading, accepted, find_cluster, no_content, reading
from nucleus.hostlists import expand
from nucleus.limits import MAX_PER_PAGE, MAX_WALLTIME_MINUTES
from nucleus.mirror import clusters, identity, operations, usage
from nucleus.mirror.driver import DuplicateError
from nucleus.mirror.hosts import listed_hosts
from nucleus.records import NewEvent
from nucleus.states import (
    ACTIVE,
    ENDED_SETS,
    ENDING,
    RUNNING,
    SYNCING,
    disk_state,
    is_ending,
    is_image_free,
)
from owners.computesets import records as computesets
from owners.computesets.batch import Forecast, NewJob, nodes_without_host
from owners.computesets.controller import batch_of
from owners.computesets.records import committed_minutes, has_started_lately
from owners.computesets.slurm import RESERVATIONS
from rocks.core.errors import HostError, UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nucleus.api.service import Call
    from nucleus.mirror.pool import Session
    from nucleus.records import Cluster, Node, Operation

# Shapes of computesets: as `nucleus.api.models`.

SetState = Literal["created", "submitted", "running", "ending", "completed", "cancelled", "failed"]


class Computeset(Answer):
    """Nodes that were started together. Operators see more."""

    id: int
    state: SetState
    cluster: str
    account: str
    walltime_mins: int
    start_time: int | None = Field(description="seconds since 1970")
    reservation: str | None
    computes: list[Compute]
    created: Moment
    ended_at: Moment
    end_reason: str | None
    ended_by: str | None = Field(description="who asked for the end, if its reason is `user`")
    degraded: bool
    requested_by: str
    waiting: str | None = Field(description="why it has no hosts yet")
    place: int | None = Field(description="among the computesets that wait; 1 is the next")
    estimated_start: Moment
    walltime_end: Moment
    charged_seconds: int | None = Field(
        description="of nodes, as an ended set was charged; with Slurm null until its accounting has it"
    )
    charged_so_far_seconds: int | None = Field(
        description="the same, of a set that has not ended; null afterwards"
    )
    nodes_ready: int
    nodes_total: int
    merged: list[int] = Field(
        description="the computesets that were merged into this one; each has its own job"
    )


class Host(Request):
    """A node and the host that it shall run on."""

    name: str
    host: str | None = None


class NewComputeset(Request):
    """Which nodes shall run, for how long, and who pays."""

    cluster: Text
    computes: Annotated[
        Text | Annotated[list[Text | Host], Field(max_length=10000)] | None, EMPTY_IS_ABSENT
    ] = Field(None, description="a list as `vm-[0-3]`, or names")
    count: Annotated[
        Annotated[int, Field(ge=0, le=100000), NO_BOOLEAN] | NumberText | None, EMPTY_IS_ABSENT
    ] = Field(None, description="so many nodes that are free, instead of computes")
    allocation: Text | None = Field(None, description="the cluster's only one, if not stated")
    walltime_mins: Annotated[int, Field(ge=1, le=MAX_WALLTIME_MINUTES), NO_BOOLEAN] | NumberText | None = None
    reservation: Annotated[str, StringConstraints(pattern=RESERVATION_NAME)] | None = Field(
        None, description="of Slurm, where the site has it, for the allocation"
    )
    hosts: Annotated[Text | None, EMPTY_IS_ABSENT] = Field(
        None, description="for operators: hosts of the nodes, in their order"
    )


class Estimate(Answer):
    """Cost and expected start of a computeset that is not started."""

    cluster: str
    computes: list[str]
    allocation: str
    walltime_mins: int
    node_minutes: int = Field(description="what it costs at most: its nodes for the whole walltime")
    left_minutes: int | None = Field(description="node minutes that the allocation has left; null: no limit")
    estimated_start: Moment = Field(description="by the site's scheduler; null: not known")
    waiting: str | None = Field(description="why it would wait, where that is known")


class OtherComputeset(Request):
    """The computeset that becomes a part of this one."""

    computeset: Annotated[int, Field(ge=1, le=0x7FFFFFFF), NO_BOOLEAN]


class Extension(Request):
    """How long a computeset shall run."""

    walltime_mins: Annotated[int, Field(ge=1, le=MAX_WALLTIME_MINUTES), NO_BOOLEAN] | NumberText = Field(
        description="in all, from its start"
    )


# What a new computeset asks for: its nodes, hosts, walltime and allocation, each refused unless it can have it.


MAX_SETS_PER_HOUR = 1000
"""Computesets of a cluster that are started within an hour: their rows are kept for ever, for charges."""


def demand_reservation(call: Call, name: str) -> None:
    """Problem without Slurm, and for the reservations that Nucleus makes in it: the service's user may use them all.

    Whether the account may use another one, Slurm says.
    """
    own = [one for one in name.split(",") if one.lower().startswith(RESERVATIONS)]
    if own or call.service.configuration.batch.kind != "slurm":
        raise invalid(
            f"a computeset cannot use the reservation {own[0] if own else name!r}: "
            + ("it is of a cluster of PRAGMA" if own else "this site has no Slurm")
            + "; leave it out",
            [("#/reservation", "only reservations of Slurm for the allocation")],
        )


def requested_nodes(
    change: Change, cluster: Cluster, body: NewComputeset, leaving: Collection[int | None]
) -> tuple[list[Node], list[str]]:
    """The nodes in natural order, and the hosts that an operator wants them on. `leaving` are not counted as free."""
    if (body.computes is None) == (body.count is None):
        raise invalid(
            "which nodes? send either computes (a list as vm-[0-3]) or count (how many)",
            [("#/computes", "either this or count is needed")],
        )
    hosts: list[str] = []
    if isinstance(body.computes, str):
        nodes = named_nodes(change, cluster, body.computes)
    elif body.computes is not None:
        names = [one if isinstance(one, str) else one.name for one in body.computes]
        if not names or len({name.casefold() for name in names}) < len(names):
            raise invalid("computes is empty or has a node twice; name each once")
        nodes = nodes_by_name(change, cluster, names)
        hosts = [one.host for one in body.computes if isinstance(one, Host) and one.host]
    else:
        nodes = _free_nodes(change, cluster, int(body.count or 0), leaving)
    if (hosts or body.hosts) and not change.scope.is_operator:
        raise forbidden("only operators choose the hosts; leave out the hosts")
    if body.hosts:
        try:
            hosts = expand(body.hosts)
        except UserError as error:
            raise invalid(str(error), [("#/hosts", str(error))]) from None
    if hosts and len(hosts) != len(nodes):
        raise invalid(f"hosts has {len(hosts)} names for {len(nodes)} nodes; it needs as many")
    if len({host.casefold() for host in hosts}) < len(hosts):
        raise invalid("hosts has a name twice; each node needs a host of its own")
    pairs = sorted(
        zip(nodes, hosts or [""] * len(nodes), strict=True), key=lambda pair: natural_key(pair[0].name)
    )
    return [node for node, _ in pairs], [host for _, host in pairs] if hosts else []


def _free_nodes(change: Change, cluster: Cluster, count: int, leaving: Collection[int | None]) -> list[Node]:
    nodes = clusters.nodes_of(change.session, change.scope, [cluster.id])[cluster.id]
    free = [
        node
        for node in nodes
        if node.kind == "compute"
        and node.set_id is None
        and node.state != ACTIVE
        and is_image_free(node.image_state, node.image_locked)
        and not node.admin_disabled
        and node.id not in leaving
    ]
    if count < 1 or len(free) < count:
        available = {0: "none is available", 1: "1 is available"}.get(len(free), f"{len(free)} are available")
        others = [node for node in nodes if node.kind == "compute" and node not in free] if count > 0 else []
        causes = [cause for node in others if (cause := _cause_not_free(change, cluster, node))]
        raise Problem(
            "not-enough-nodes",
            f"you asked for {count} of the nodes of {cluster.name}, and {available}"
            + (f": {', '.join(causes[:3])}{', …' if causes[3:] else ''}" if causes else ""),
        )
    return free[:count]


def _cause_not_free(change: Change, cluster: Cluster, node: Node) -> str:
    """Why the node cannot be chosen, without the advice for one that is named; '' where its state does not say it."""
    try:
        demand_free(change, cluster, node)
    except Problem as problem:
        return str(problem).partition(";")[0]
    return ""


def demand_free(change: Change, cluster: Cluster, node: Node) -> None:
    """Problem for a node that is in a set, disabled, on, or whose disk is not ready."""
    if node.set_id is not None:
        raise Problem(
            "node-busy",
            f"{node.name} is in the computeset {node.computeset}, which is {node.set_state}; choose another node",
        )
    if node.admin_disabled:
        raise Problem("node-disabled", f"the site's operators have disabled {node.name}; choose another node")
    if not is_image_free(node.image_state, node.image_locked):
        is_moving = disk_state(node.image_state, node.image_locked) == SYNCING
        what = "is being transferred" if is_moving else "is in use"
        raise Problem("node-syncing", f"the disk of {node.name} {what}; wait until it is ready")
    if node.state == ACTIVE:
        raise Problem(
            "node-busy",
            f"{node.name} is on and in no computeset{seen_ago(change, cluster, node)}; ask the site's operators to"
            " power it off",
        )


def demand_hosts(change: Change, count: int, chosen: Sequence[str]) -> None:
    """Problem when the operators' list can never hold so many machines, each on a host of its own."""
    batch = change.call.service.configuration.batch
    if batch.kind != "hosts":
        return  # the batch system knows
    hosts = set(listed_hosts(change.session, batch.hosts))
    if not hosts:
        raise Problem(
            "not-enough-nodes",
            "this site has no hosts for new computesets; ask its operators, who add some: nucleus host add HOSTS",
        )
    if count > len(hosts):
        raise Problem(
            "not-enough-nodes",
            f"{count} nodes need as many hosts, and this site has {len(hosts)} for computesets; ask for fewer nodes",
        )
    unknown = [host for host in chosen if host not in hosts]
    if unknown:
        raise invalid(
            f"{unknown[0][:64]!r} is not in the list of hosts (nucleus host list)",
            [("#/hosts", "only hosts of the list")],
        )


def walltime_of(call: Call, requested: int | str | None) -> int:
    """In minutes: the requested one, else that of the site. Problem for one that the site does not permit."""
    batch = call.service.configuration.batch
    if requested is None:
        return min(batch.walltime_minutes, batch.most_walltime_minutes)
    minutes = int(requested)
    if not 1 <= minutes <= batch.most_walltime_minutes:
        days, rest = divmod(batch.most_walltime_minutes, 24 * 60)
        longest = f"{batch.most_walltime_minutes / 60:g}h" if rest else f"{days}d"
        allowed = f"1 to {batch.most_walltime_minutes} minutes ({longest})"
        or_more = " or more" if minutes == MAX_WALLTIME_MINUTES else ""  # clients send no longer one
        raise invalid(
            f"a walltime of {minutes} minutes{or_more} is not possible here: it may be {allowed}",
            [("#/walltime_mins", allowed)],
        )
    return minutes


def account_of(change: Change, cluster: Cluster, requested: str | None) -> str:
    """The allocation that is charged: the requested one, else the only one of the cluster. Problem for another."""
    names = clusters.allocations_of(change.session, change.scope, [cluster.id])[cluster.id]
    if requested:
        if requested not in names:
            raise Problem(
                "bad-allocation",
                f"{cluster.name} cannot charge {requested[:80]!r}; it can: {', '.join(names) or 'none'}",
            )
        return requested
    if len(names) == 1:
        return names[0]
    if not names:
        raise Problem(
            "bad-allocation", f"{cluster.name} has no allocation to charge; ask the site's operators for one"
        )
    raise Problem("bad-allocation", f"{cluster.name} has several allocations; name one: {', '.join(names)}")


def demand_few_sets(session: Session, cluster: Cluster) -> None:
    """Problem when too many computesets of the cluster were started within an hour."""
    if has_started_lately(session, cluster.id, MAX_SETS_PER_HOUR):
        raise limited(
            f"{MAX_SETS_PER_HOUR} computesets of {cluster.name} were started within an hour; start this one later",
            headers={"Retry-After": "600"},
        )


def demand_node_hours(change: Change, cluster: Cluster, minutes: int, account: str) -> None:
    """Problem when the project's allocation would be charged more minutes of nodes than its limit, without Slurm.

    Slurm counts and limits its accounts itself. The project's row is locked.
    """
    if cluster.project_id is None or change.call.service.configuration.batch.kind != "hosts":
        return
    project = identity.project_by_id(change.session, cluster.project_id, is_locked=True)
    limit = None if project is None else project.limits.get("node_hours")
    if limit is not None and (left := limit * 60 - committed_minutes(change.session, account)) < minutes:
        has, needs = max(0, left * 100 // 60) / 100, -(-minutes * 100 // 60) / 100
        raise Problem(
            "quota-exceeded",
            f"{account} has {has:,.15g} node hours left; this needs {needs:,.15g}; {REMEDIES['node_hours']},"
            " or ask the site's operators",
        )


def may_act(change: Change, action: str, cluster: Cluster, nodes: Sequence[Node]) -> None:
    """Problem for an action on nodes that their computesets do not permit: `PART`.

    A compute has its power changed in a running set only, and in none that has lost its host.
    """
    for node in nodes:
        if action != "attach_iso" and node.kind == "compute" and node.set_state != RUNNING:
            raise Problem(
                "not-in-running-set",
                f"{node.name} is in no running computeset{_way_out(change, cluster, node)}",
            )
    _demand_no_end(change, nodes)
    if action == "poweron":
        for node in nodes:
            _demand_host(change, node)


def _demand_no_end(change: Change, nodes: Sequence[Node]) -> None:
    """Problem when a computeset of one of the nodes ends, or is to: what comes after that is not done.

    An image in the drive would keep the set, and its hosts, from their end.
    """
    numbers = sorted({node.set_id for node in nodes if node.set_id is not None})
    for one in computesets.computesets_by_number(change.session, numbers) if numbers else ():
        if is_ending(one.state, one.cancel_requested):
            node = next(node for node in nodes if node.set_id == one.id)
            raise Problem(
                "node-busy",
                f"the computeset {node.computeset} of {node.name} is ending; wait until it has ended",
            )


def _demand_host(change: Change, node: Node) -> None:
    """Problem when the running set of a compute has lost the node's host."""
    running = node.set_id and computesets.find_computeset(change.session, change.scope, node.set_id)
    if running and computesets.host_of(running, node.id) is None:
        raise conflict(
            f"the site took the host of {node.name} from computeset {running.id}: "
            f"run `comet terminate {running.id}`, then `comet start` with this node again"
        )


def _way_out(change: Change, cluster: Cluster, node: Node) -> str:
    """What can be done with a compute that is in no running set."""
    if node.set_id is not None:
        return f": its set {node.computeset} is {node.set_state}"
    if node.state == ACTIVE:
        return f", and on{seen_ago(change, cluster, node)}; ask the site's operators to power it off"
    return f"; `comet start {cluster.name} {node.name}` starts one"


# The routes.


MAX_NODES_PER_PAGE = 10_000
"""Nodes of the computesets in one answer, where some have ended; one computeset is answered whole."""

router = APIRouter()

SetId = Annotated[int, Path(ge=1, le=0x7FFFFFFF)]
States = Annotated[
    list[Literal[SetState, "queued"]] | None,
    Query(description="`queued`, which the published client asks for as well, is no set"),
]


def sets_json(one: Reading | Change, sets: Sequence[computesets.Computeset]) -> list[Json]:
    """The representations of sets with what was merged into them, with few statements however many they are."""
    if not sets:
        return []
    session, call, scope = one.session, one.call, one.scope
    merged = computesets.parts_of(session, [found.id for found in sets])
    kind = call.service.configuration.batch.kind
    sets = [
        computesets.as_one([_with_charge(part, kind) for part in (found, *merged.get(found.id, ()))])
        for found in sets
    ]
    nodes = clusters.nodes_by_id(session, scope, [number for found in sets for number in found.node_ids])
    of_nodes = {node.cluster_id for node in nodes.values()}  # now; the cluster of a set may be gone
    by_id = clusters.clusters_by_id(session, scope, {found.cluster_id for found in sets} | of_nodes)
    interfaces = clusters.interfaces_of(session, scope, sorted(of_nodes))
    poll = call.service.configuration.poll
    freshness = {number: freshness_of(cluster, poll, call.now).fields for number, cluster in by_id.items()}
    ended_by = computesets.enders(session, [found.id for found in sets if found.end_reason == "user"])
    answers, shapes = [], dict[int, Json]()
    for found in sets:
        cluster = by_id.get(found.cluster_id)
        if cluster is not None:
            for number in nodes.keys() & set(found.node_ids) - shapes.keys():  # many sets had the same node
                fields = freshness.get(nodes[number].cluster_id, freshness[cluster.id])
                shapes[number] = compute_json(nodes[number], cluster.name, interfaces.get(number, ()), fields)
            computes = [shapes[number] for number in found.node_ids if number in shapes]
            who = ended_by.get(found.id)
            answers.append(computeset_json(found, cluster.name, computes, scope.is_operator, who))
    return answers


def _with_charge(one: computesets.Computeset, kind: str) -> computesets.Computeset:
    """The set with the charge that Nucleus counts, where no batch system does."""
    if one.charged_seconds is not None or kind != "hosts":
        return one
    so_far = one.charged_so_far_seconds  # of a batch system that the site has had
    return one._replace(charged_seconds=one.used_seconds if so_far is None else so_far)


@route(router, "GET /v1/computeset", "list_computesets", "Your computesets", list[Computeset])
@reads
def list_computesets(
    reading: Reading,
    state: States = None,
    cluster: Annotated[str | None, Query(max_length=128)] = None,
    begin: Annotated[
        Time | None, Query(alias="from", description="only those that ended then or later")
    ] = None,
    end: Annotated[Time | None, Query(alias="to", description="only those that ended earlier")] = None,
    limit: Limit = None,
    cursor: Cursor = None,
    fields: Fields = None,
) -> Response:
    """Without `state` also those that have ended: then, without `limit`, the newest of all that there ever were.

    A page ends earlier where its sets have many nodes.
    """
    page, request = page_of(limit, cursor), reading.call.request
    number = None if cluster is None else find_cluster(reading, cluster).id
    ended = computesets.Ended(*(None if one is None else one.astimezone(UTC) for one in (begin, end)))
    found, headers = _found(reading, page, state or (), number, ended)
    answers = [one for one in sets_json(reading, found) if not state or one["state"] in state]
    return conditional_json(request, chosen(answers, fields), headers)


def _found(
    reading: Reading, page: Page, states: Sequence[str], cluster: int | None, ended: computesets.Ended
) -> tuple[list[computesets.Computeset], dict[str, str]]:
    """The sets of the page, and the header that leads to the next.

    Sets that have ended are kept for ever: of a list that may have them only a part is read.
    """
    asked = reading.session, reading.scope, states, cluster
    is_whole = page.limit is None and page.after is None
    if is_whole and states and not set(states) & set(ENDED_SETS) and ended == computesets.Ended():
        return computesets.list_computesets(*asked), {}
    after = None if is_whole else number_of(page.after or "")
    most = page.limit or MAX_PER_PAGE
    sizes = computesets.sizes_of_computesets(*asked, after, most + 1, ended)
    numbers = [number for number, _ in sizes]
    count = min(most, _fitting([nodes for _, nodes in sizes]))
    headers = dict[str, str]()
    if not is_whole:
        page = Page(count or None, None)
        _, headers = paged(reading.call.request, page, [str(number) for number in numbers], number_of)
    return computesets.computesets_by_number(reading.session, numbers[:count]), headers


def _fitting(sizes: Sequence[int]) -> int:
    """How many sets are in one answer, with all their nodes: the first one, however large it is."""
    totals = list(accumulate(sizes))
    return max(bisect.bisect_right(totals, MAX_NODES_PER_PAGE), min(len(sizes), 1))


@route(router, "GET /v1/computeset/{s}", "get_computeset", "A computeset", Computeset)
@reads
def get_computeset(reading: Reading, s: SetId, fields: Fields = None) -> Response:
    """Also one that has ended."""
    (content,) = sets_json(reading, [find_set(reading, s)])
    return conditional_json(reading.call.request, chosen(content, fields))


def find_set(one: Reading | Change, number: int, *, lock: bool = False) -> computesets.Computeset:
    """The set of the caller, or the one that it was merged into. Problem when there is none, or it is another's."""
    found = computesets.find_computeset(one.session, one.scope, number, lock)
    if found is not None and found.merged_into is not None:
        found = computesets.find_computeset(one.session, one.scope, found.merged_into, lock)
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
    Computeset,
    status_code=201,
)
@changes("computeset", "start_set")
def start_computeset(change: Change, body: NewComputeset) -> Response:
    """Everything is checked before anything exists."""
    call, session = change.call, change.session
    cluster, nodes, hosts, walltime, account = _checked(change, body)
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


def _checked(change: Change, body: NewComputeset) -> tuple[Cluster, list[Node], list[str], int, str]:
    """Cluster, nodes, chosen hosts, walltime in minutes and allocation of a set that can be started; else Problem."""
    call = change.call
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
    walltime = walltime_of(call, body.walltime_mins)
    account = account_of(change, cluster, body.allocation)
    demand_quota(change, cluster, nodes, walltime)
    demand_node_hours(change, cluster, len(nodes) * walltime, account)
    demand_few_sets(change.session, cluster)
    return cluster, nodes, hosts, walltime, account


@route(
    router,
    "POST /v1/computeset/estimate",
    "estimate_computeset",
    "What a new computeset would cost, and when it would start",
    Estimate,
)
def estimate_computeset(call: Known, body: NewComputeset) -> Response:
    """The request is checked and refused as for a new computeset; nothing is started."""
    service, user = call.service, call.caller.user.id
    service.change_rate.take(call.caller)  # it locks rows as a change does
    with service.changes.one_more(user), service.all_changes.one_more(user):
        content, job = reading(call, lambda it: _estimated(it, body))
    if content["waiting"] is None:
        forecast = _forecast(call, job)
        start = None if forecast.starts_at is None else datetime.fromtimestamp(forecast.starts_at, UTC)
        content |= {"estimated_start": text_of(start), "waiting": forecast.waiting or None}
    return json_answer(content)


def _estimated(reading: Reading, body: NewComputeset) -> tuple[Json, NewJob]:
    """What is known without the scheduler, and the job that the set would be."""
    change = Change(reading.session, reading.call, "start_set")  # which is only checked
    cluster, nodes, hosts, walltime, account = _checked(change, body)
    minutes, left = len(nodes) * walltime, None
    if cluster.project_id is not None:
        project = identity.project_by_id(reading.session, cluster.project_id)
        limit = None if project is None else project.limits.get("node_hours")
        for _, name, charged, reserved, slurm in usage.allocation_usage(
            reading.session, [cluster.project_id]
        ):
            if name == account:
                left = usage.left_minutes(None if limit is None else limit * 60, charged, reserved, slurm)
    content: Json = {
        "cluster": cluster.name,
        "computes": [node.name for node in nodes],
        "allocation": account,
        "walltime_mins": walltime,
        "node_minutes": minutes,
        "left_minutes": left,
        "estimated_start": None,
        "waiting": f"{account} has too few node hours left" if left is not None and left < minutes else None,
    }
    excluded = tuple(nodes_without_host(reading.session))
    return content, NewJob(
        "estimate", len(nodes), walltime, account, tuple(hosts), body.reservation, excluded=excluded
    )


def _forecast(call: Call, job: NewJob) -> Forecast:
    try:
        with call.service.forecasts.one_more(call.caller.user.id):
            return batch_of(call.service.configuration, call.service.pool).forecast(job)
    except UserError as error:
        raise conflict(str(error)) from None
    except HostError:
        return Forecast(None, "the site's scheduler does not answer; try again later")


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
    parts, cluster = _parts_with_cluster(change, number)
    living = [one for one in parts if one.state not in ENDED_SETS]
    if not living and not is_legacy(change.call.request):
        raise conflict(f"the computeset {number} has ended: it is {parts[0].state}")
    if not living:
        return no_content()
    asked = [_ask_end(change, cluster, one.id, how) for one in living]
    return accepted(change, asked[0], (cluster.name, None))


def _ask_end(change: Change, cluster: Cluster, number: int, how: str) -> Operation:
    computesets.request_end(change.session, number, how)
    known = operations.list_operations(
        change.session, change.scope, states=("queued", "running"), set_id=number, kind="end_set"
    )
    target = f"{cluster.name}/set {number}"
    if known:
        change.note(target, after=how)
        return known[0]
    return change.ask("end_set", cluster, set_id=number, arguments={"how": how}, target=target)


def _restart(change: Change, number: int, action: str) -> Response:
    """The set goes on."""
    parts, cluster = _parts_with_cluster(change, number)
    running = _demand_running(parts, f"can {action}")
    node_ids = [node_id for one in running for node_id in one.node_ids]
    demand_stays_on(change, list(clusters.nodes_by_id(change.session, change.scope, node_ids).values()))
    number = parts[0].id
    target, arguments = f"{cluster.name}/set {number}", {"nodes": node_ids}
    operation = change.ask(f"{action}_set", cluster, set_id=number, arguments=arguments, target=target)
    return accepted(change, operation, (cluster.name, None))


def _demand_running(parts: Sequence[computesets.Computeset], what: str) -> list[computesets.Computeset]:
    """The parts that run. Problem when none does."""
    running = [
        one for one in parts if one.state == RUNNING and not is_ending(one.state, one.cancel_requested)
    ]
    if not running:
        one = computesets.as_one(parts)
        state = ENDING if is_ending(one.state, one.cancel_requested) else one.state
        raise conflict(f"the computeset {one.id} is {state}; only a running one {what}")
    return running


@route(
    router,
    "POST /v1/computeset/{s}/merge",
    "merge_computesets",
    "Merge another computeset into this one",
    status_code=204,
)
@changes("computeset", "merge_set")
def merge_computesets(change: Change, s: SetId, body: OtherComputeset) -> Response:
    """A merge is permanent. The computesets are shown, extended and ended as one. Each keeps its job, and its end does
    not end the others.
    """
    if s == body.computeset:
        raise invalid(f"computeset {s} cannot be merged into itself; name another computeset")
    for number in sorted((s, body.computeset)):  # in this order by all
        find_set(change, number, lock=True)
    (parts, cluster), (others, _) = (_parts_with_cluster(change, one) for one in (s, body.computeset))
    one, other = parts[0], others[0]
    if one.id == other.id:
        return no_content()
    if one.cluster_id != other.cluster_id:
        raise conflict(
            f"computesets {s} and {body.computeset} belong to different clusters; only computesets of one cluster"
            " can be merged"
        )
    if one.account != other.account:
        raise conflict(
            f"the computeset {s} is charged to {one.account}, and {body.computeset} to {other.account}; only"
            " computesets of one allocation can be merged"
        )
    for found in (parts, others):
        _demand_running(found, "can be merged")
    computesets.merge(change.session, one.id, other.id)
    clusters.bump_generation(change.session, [cluster.id])
    change.note(f"{cluster.name}/set {one.id}", after=f"with set {other.id}")
    change.record_done("merge_set", cluster, {"computesets": [one.id, other.id]})
    return no_content()


@route(
    router, "PATCH /v1/computeset/{s}", "extend_computeset", "Have a computeset run longer", status_code=204
)
@when_done
@changes("computeset", "extend_set")
def extend_computeset(change: Change, s: SetId, body: Extension) -> Response:
    """Only one that waits or runs. The added time is charged, and has the limits of a new computeset."""
    parts, cluster = _parts_with_cluster(change, s)
    one = computesets.as_one(parts)
    if one.state in ENDED_SETS or is_ending(one.state, one.cancel_requested):
        raise conflict(f"the computeset {s} is ending or has ended; only one that waits or runs is extended")
    minutes, s = walltime_of(change.call, body.walltime_mins), one.id
    if minutes < one.walltime_minutes:
        raise conflict(
            f"the computeset {s} has {one.walltime_minutes} minutes already; `comet extend {s} +{minutes}m` adds "
            f"{minutes} to them, and `comet terminate {s}` ends it earlier"
        )
    if operations.list_operations(
        change.session, change.scope, states=("queued", "running"), set_id=s, kind="extend_set"
    ):
        raise conflict(f"the computeset {s} is being extended; wait until that has ended")
    demand_acknowledgement(change.call)
    demand_leader(change, cluster)
    account_of(change, cluster, one.account)
    of_parts = computesets.minutes_of_parts(parts, minutes)
    demand_walltime(change, cluster, max(of_parts.values(), default=minutes))
    more = sum((of_parts[it.id] - it.walltime_minutes) * it.node_count for it in parts if it.id in of_parts)
    demand_node_hours(change, cluster, more, one.account)
    target, arguments = f"{cluster.name}/set {s}", {"minutes": minutes, "parts": of_parts}
    operation = change.ask("extend_set", cluster, set_id=s, arguments=arguments, target=target)
    return accepted(change, operation, (cluster.name, None))


def _parts_with_cluster(change: Change, number: int) -> tuple[list[computesets.Computeset], Cluster]:
    """The set, locked, then those that were merged into it."""
    one = find_set(change, number, lock=True)
    cluster = clusters.find_cluster_by_id(change.session, change.scope, one.cluster_id)
    if cluster is None:  # it left the caller's projects in this moment
        raise unknown_set(number)
    return [one, *computesets.parts_of(change.session, [one.id]).get(one.id, ())], cluster


def computeset_json(
    one: computesets.Computeset,
    cluster: str,
    computes: Sequence[Json],
    is_operator: bool,
    ended_by: str | None = None,
) -> Json:
    """`Computeset`; operators get the fields of the workers, too."""
    content = shaped(
        Computeset,
        one,
        cluster=cluster,
        walltime_mins=one.walltime_minutes,
        ended_by=ended_by,
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
    day: date | None = Field(None, description="in UTC, of their end; with `by=day` only")


_MOST_DAYS = 366


@route(
    router,
    "GET /v1/usage",
    "list_usage",
    "What your computesets were charged",
    list[Charge],
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
@reads
def list_usage(
    reading: Reading,
    begin: Annotated[Time | None, Query(alias="from")] = None,
    end: Annotated[Time | None, Query(alias="to")] = None,
    by: Annotated[
        Literal["day"] | None, Query(description=f"each day by itself: of {_MOST_DAYS} at most")
    ] = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    """By allocation, project, user and cluster: of those that ended at or after `from`, and before `to`."""
    if begin is not None and end is not None and end <= begin:
        raise invalid("`to` is not after `from`; choose a later one")
    first, last = (None if one is None else one.astimezone(UTC) for one in (begin, end))
    asked = reading.session, reading.scope
    if by is None:
        found = [one._asdict() for one in computesets.charges(*asked, first, last)]
    elif first is None or last is None or last - first > timedelta(days=_MOST_DAYS):
        raise invalid(f"`by=day` needs `from` and `to`, and at most {_MOST_DAYS} days between them")
    else:
        found = [
            one._asdict() | {"day": day.isoformat()}
            for day, one in computesets.charges_by_day(*asked, first, last)
        ]
    if form == "csv":
        return Response(_csv_of(found, by), media_type="text/csv")
    return conditional_json(reading.call.request, found)


def _csv_of(charges: Sequence[Json], by: str | None) -> str:
    text = io.StringIO()
    keys = [*([by] if by else ()), *computesets.Charge._fields]
    rows = [[*(one[key] for key in keys), f"{one['charged_seconds'] / 3600:.2f}"] for one in charges]
    csv.writer(text, lineterminator="\n").writerows([[*keys, "node_hours"], *rows])
    return text.getvalue()
