"""Power and CD drive of single nodes: rows 6 to 9, 11, 12 and 14 to 19 of the published table."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from nucleus.api import models
from nucleus.api.clusters import demand_cluster_match
from nucleus.api.images import find_image
from nucleus.api.problems import Problem
from nucleus.api.rules import demand_acknowledgement, demand_quota, demand_startable
from nucleus.api.service import (
    Call,
    Change,
    Known,
    accepted,
    changing,
    find_cluster,
    find_node,
    unknown_node,
)
from nucleus.hostlists import expand
from nucleus.mirror import clusters
from nucleus.states import RUNNING
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from nucleus.records import Cluster, Node, Operation

router = APIRouter()


class Action(StrEnum):
    """What can be done with the power of a node."""

    POWERON = "poweron"
    POWEROFF = "poweroff"
    REBOOT = "reboot"
    RESET = "reset"
    SHUTDOWN = "shutdown"


_MEANING = {
    Action.POWERON: ("Power a node on", 8, 16),
    Action.POWEROFF: ("Power a node off, at once", 7, 15),
    Action.REBOOT: ("Ask the node's system to reboot", 9, 17),
    Action.RESET: ("Reset a node, at once", 11, 18),
    Action.SHUTDOWN: ("Ask the node's system to shut down", 12, 19),
}
"""Action → its summary, and its rows for a compute and for a frontend."""


def _declare(action: Action) -> None:
    summary, compute_row, frontend_row = _MEANING[action]

    def compute(call: Known, c: str, n: str) -> Response:
        return changing(call, "power", action.value, lambda change: _power(change, action, c, n))

    def frontend(call: Known, c: str) -> Response:
        return changing(call, "power", action.value, lambda change: _power(change, action, c, None))

    compute.__doc__ = f"Row {compute_row}. The node must be in a running computeset."
    frontend.__doc__ = f"Row {frontend_row}. Frontends are in no computeset, and nothing is charged."
    for handler, place, row in ((compute, "compute/{n}", compute_row), (frontend, "frontend", frontend_row)):
        router.put(
            f"/v1/cluster/{{c}}/{place}/{action.value}",
            operation_id=f"row{row:02}",
            status_code=204,
            summary=summary,
        )(handler)


for _action in Action:
    _declare(_action)


def _power(change: Change, action: Action, c: str, n: str | None) -> Response:
    call = change.call
    cluster = find_cluster(change.session, call, c, lock=True)
    node = find_node(change.session, call, cluster, n, lock=True)
    demand_cluster_match(call.request, call, cluster)
    if node.kind == "compute" and node.set_state != RUNNING:
        raise Problem(
            "not-in-running-set",
            f"{node.name} is in no running computeset"
            + (f": its set {node.set_id} is {node.set_state}" if node.set_id else "")
            + f"; `comet start {cluster.name} {node.name}` starts one",
        )
    if action is Action.POWERON:
        demand_acknowledgement(call)
        demand_startable(node)
        demand_quota(change, cluster, [node])
    set_id = node.set_id if node.kind == "compute" else None
    operation = change.ask(action.value, cluster, node, set_id=set_id)
    return accepted(change, operation, (cluster.name, node.name))


IsoQuery = Annotated[
    str | None, Query(max_length=300, description="public/NAME or project/PROJECT/NAME; empty: take it out")
]
IsoBody = Annotated[models.IsoName | None, Body()]


@router.put(
    "/v1/cluster/{c}/compute/{n}/attach_iso",
    operation_id="row06",
    status_code=204,
    summary="Put an image into a node",
)
def attach_compute(call: Known, c: str, n: str, iso_name: IsoQuery = None, body: IsoBody = None) -> Response:
    """Row 6. It is there from the next power-on; a reboot or reset changes nothing. An empty name takes it out."""
    return _attach(call, c, n, iso_name, body)


@router.put(
    "/v1/cluster/{c}/frontend/attach_iso",
    operation_id="row14",
    status_code=204,
    summary="Put an image into a frontend",
)
def attach_frontend(call: Known, c: str, iso_name: IsoQuery = None, body: IsoBody = None) -> Response:
    """Row 14. As row 6."""
    return _attach(call, c, None, iso_name, body)


@router.put(
    "/v1/cluster/{c}/attach_iso",
    operation_id="attach_nodes",
    status_code=204,
    summary="Put an image into many nodes",
)
def attach_many(call: Known, c: str, body: models.IsoNodes) -> Response:
    """One operation, whose result has an entry for each node."""

    def act(change: Change) -> Response:
        cluster = find_cluster(change.session, call, c, lock=True)
        if body.nodes is None:
            nodes = [find_node(change.session, call, cluster, None)]
        else:
            nodes = named_nodes(change, cluster, body.nodes)
        return accepted(change, _attach_nodes(change, cluster, nodes, body.iso_name), (cluster.name, None))

    return changing(call, "image", "attach_iso", act)


def _attach(call: Call, c: str, n: str | None, query: str | None, body: models.IsoName | None) -> Response:
    def act(change: Change) -> Response:
        iso = query if query is not None or body is None else body.iso_name
        if iso is None:
            raise Problem(
                "invalid-request",
                "which image? send ?iso_name=public/NAME, or an empty iso_name to take the image out",
                [("#/query/iso_name", "it is missing")],
            )
        cluster = find_cluster(change.session, call, c, lock=True)
        node = find_node(change.session, call, cluster, n, lock=True)
        return accepted(change, _attach_nodes(change, cluster, [node], iso), (cluster.name, node.name))

    return changing(call, "image", "attach_iso", act)


def named_nodes(change: Change, cluster: Cluster, text: str) -> list[Node]:
    """The computes of a list, in its order. Problem for a list that is none, a node twice, and an unknown one."""
    try:
        names = expand(text)
    except UserError as error:
        raise Problem("invalid-request", str(error)) from None
    if not names:
        raise Problem("invalid-request", "the list of nodes is empty; name at least one")
    if len({name.casefold() for name in names}) < len(names):
        raise Problem("invalid-request", f"the list {text[:60]!r} has a node twice; name each once")
    return nodes_by_name(change, cluster, names)


def nodes_by_name(change: Change, cluster: Cluster, names: list[str]) -> list[Node]:
    """The computes of these names, in their order. Problem for an unknown one."""
    nodes = clusters.nodes_of(change.session, change.scope, [cluster.id])[cluster.id]
    by_name = {node.name.casefold(): node for node in nodes if node.kind == "compute"}
    for name in names:
        if name.casefold() not in by_name:
            raise unknown_node(cluster.name, name)
    return [by_name[name.casefold()] for name in names]


def _attach_nodes(change: Change, cluster: Cluster, nodes: list[Node], iso: str) -> Operation:
    demand_cluster_match(change.call.request, change.call, cluster)
    image = find_image(change.session, change.call, iso, cluster) if iso else None
    arguments: dict[str, Any] = {"image": image and image.id, "iso": image and image.text}
    if len(nodes) == 1:
        return change.ask("attach_iso", cluster, nodes[0], arguments=arguments)
    arguments["nodes"] = [node.id for node in nodes]
    return change.ask("attach_iso", cluster, arguments=arguments, target=f"{cluster.name}/{len(nodes)} nodes")
