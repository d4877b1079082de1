"""Power of single nodes: rows 7 to 9, 11, 12 and 15 to 19 of Table 1 (`decorators.route`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from nucleus.api.clusters import demand_cluster_match, demand_cluster_stays
from nucleus.api.decorators import changes, route_of_nodes
from nucleus.api.problems import Problem, conflict, invalid
from nucleus.api.quotas import demand_quota
from nucleus.api.responsibility import demand_acknowledgement, demand_leader
from nucleus.api.service import Change, accepted, find_cluster, find_node, unknown_node
from nucleus.hostlists import MAX_OWNERS_NODES, expand
from nucleus.mirror import clusters, operations
from nucleus.parts import installed
from nucleus.power_actions import POWER_ACTIONS, RESTARTS
from nucleus.states import SYNCING, disk_state, is_off
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.records import Cluster, Node

router = APIRouter()

_RECENT_SECONDS = 5.0
"""A state that was read so short a time ago is as good as read now."""


def _declare(action: str, summary: str) -> None:
    def handler(change: Change, c: str, n: str) -> Response:
        """A compute node must be in a running computeset. Frontends are in none, and nothing is charged."""
        return _power(change, action, c, n)

    names = (f"compute_{action}", f"frontend_{action}")
    path = f"PUT /v1/cluster/{{c}}/NODE/{action}"
    route_of_nodes(router, path, names, summary, status_code=204)(changes("power", action)(handler))


for _name, _action in POWER_ACTIONS.items():
    _declare(_name, _action.summary)


def _power(change: Change, action: str, c: str, n: str | None) -> Response:
    cluster = find_cluster(change, c, lock=True)
    node = find_node(change, cluster, n, lock=True)
    demand_cluster_match(change, cluster)
    demand_possible(change, action, cluster, [node])
    if action in RESTARTS:
        demand_stays_on(change, [node])
        coming = operations.coming_power(change.session, [node.id])
        if is_off(node.state, has_host=node.physical_host is not None) and node.id not in coming:
            raise conflict(f"{node.name} is off{seen_ago(change, cluster, node)}; power it on instead")
    if action == "poweron":
        demand_acknowledgement(change.call)
        demand_leader(change, cluster)
        demand_cluster_stays(change, cluster, [node])
        demand_startable(node)
        demand_quota(change, cluster, [node])
    set_id = node.set_id if node.kind == "compute" else None
    operation = change.ask(action, cluster, node, set_id=set_id)
    return accepted(change, operation, (cluster.name, node.name))


def demand_possible(change: Change, action: str, cluster: Cluster, nodes: Sequence[Node]) -> None:
    """Problem when a part does not permit the action on one of the nodes."""
    for part in installed().values():
        part.may_act(change, action, cluster, nodes)


def demand_stays_on(change: Change, nodes: Sequence[Node]) -> None:
    """Problem when an operation that comes first leaves one of the nodes off: a reset or reboot would fail."""
    coming = operations.coming_power(change.session, [node.id for node in nodes])
    for node in nodes:
        identifier, is_on = coming.get(node.id, ("", True))
        if not is_on:
            raise conflict(
                f"{node.name} is being powered off; wait until it is off, and power it on instead",
                operation=identifier,
            )


def named_nodes(change: Change, cluster: Cluster, text: str) -> list[Node]:
    """The computes of a list, in its order. Problem for a list that is none, a node twice, and an unknown one."""
    try:
        names = expand(text, MAX_OWNERS_NODES)
    except UserError as error:
        raise invalid(str(error)) from None
    if not names:
        raise invalid("the list of nodes is empty; name at least one")
    if len({name.casefold() for name in names}) < len(names):
        raise invalid(f"the list {text[:60]!r} has a node twice; name each once")
    return nodes_by_name(change, cluster, names)


def nodes_by_name(change: Change, cluster: Cluster, names: list[str]) -> list[Node]:
    """The computes of these names, in their order. Problem for an unknown one."""
    nodes = clusters.nodes_of(change.session, change.scope, [cluster.id])[cluster.id]
    by_name = {node.name.casefold(): node for node in nodes if node.kind == "compute"}
    for name in names:
        if name.casefold() not in by_name:
            raise unknown_node(cluster.name, name)
    return [by_name[name.casefold()] for name in names]


def demand_startable(node: Node) -> None:
    """Problem when the site has disabled the node, or its disk is on its way."""
    if node.admin_disabled:
        raise Problem("node-disabled", f"the site's operators have disabled {node.name}; ask them")
    if node.image_locked and disk_state(node.image_state, node.image_locked) == SYNCING:
        raise Problem(
            "node-syncing",
            f"the disk of {node.name} is being transferred; wait until it is ready",
        )


def seen_ago(change: Change, cluster: Cluster, node: Node) -> str:
    """How old the known state of a node is, as a part of a sentence; '' when it was read just now."""
    read = [at for at in (cluster.observed_power, node.last_command_at) if at is not None]
    seconds = (change.call.now - max(read)).total_seconds() if read else 0.0
    return f" (as was seen {seconds:.0f} s ago)" if seconds > _RECENT_SECONDS else ""
