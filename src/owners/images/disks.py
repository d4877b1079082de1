"""Fresh disks for nodes: made from an image of the site's library, or cloned from another compute's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from nucleus.api import models
from nucleus.api.clusters import demand_cluster_match, demand_cluster_stays, demand_unused
from nucleus.api.decorators import changes, reads, route, route_of_nodes
from nucleus.api.etags import conditional_json
from nucleus.api.nodes import demand_startable
from nucleus.api.problems import Problem, conflict, invalid
from nucleus.api.service import Change, Reading, accepted, find_cluster, find_node, known_power
from nucleus.mirror import operations

if TYPE_CHECKING:
    from nucleus.records import Cluster, Node

router = APIRouter()


@route(router, "GET /v1/image/disk", "list_disk_images", "Images for disks", list[str])
@reads
def list_disk_images(reading: Reading) -> Response:
    """The images of the site's library that its operators offer to owners, for reinstalling nodes."""
    call = reading.call
    return conditional_json(call.request, list(call.service.configuration.images.for_disks))


_REINSTALL = ("reinstall_compute", "reinstall_frontend")


@route_of_nodes(
    router, "POST /v1/cluster/{c}/NODE/reinstall", _REINSTALL, "Give {} a fresh disk", status_code=204
)
@changes("cluster:reinstall", "reinstall")
def reinstall(change: Change, c: str, n: str, body: models.FreshDisk) -> Response:
    """Its first disk is made anew at the next power-on. The node must be off, in no computeset, its disk unmapped."""
    cluster = find_cluster(change, c, lock=True)
    node = find_node(change, cluster, n, lock=True)
    _demand_replaceable(change, cluster, node, body.confirm)
    offered = change.call.service.configuration.images.for_disks
    if body.image is not None and body.image not in offered:
        names = (
            f"choose one of: {', '.join(offered)}"
            if offered
            else "this site offers none; without one, the disk is made from the image that the node has"
        )
        raise Problem("unknown-image", f"there is no image {body.image[:128]!r} for disks; {names}")
    arguments = {} if body.image is None else {"reference": body.image}
    operation = change.ask("reinstall", cluster, node, arguments=arguments)
    return accepted(change, operation, (cluster.name, node.name))


@route(
    router,
    "POST /v1/cluster/{c}/compute/{n}/clone",
    "clone_compute",
    "Give a compute node a clone of another one's disk",
    status_code=204,
)
@changes("cluster:reinstall", "clone")
def clone(change: Change, c: str, n: str, body: models.ClonedDisk) -> Response:
    """Both nodes must be off, in no computeset, and their disks unmapped; the original keeps its own."""
    cluster = find_cluster(change, c, lock=True)
    node = find_node(change, cluster, n, lock=True)
    original = find_node(change, cluster, body.original, lock=True)
    if original.id == node.id:
        raise invalid(f"{node.name} cannot be a clone of itself; name another compute")
    _demand_replaceable(change, cluster, node, body.confirm)
    _demand_at_rest(change, original)
    operation = change.ask("clone", cluster, node, arguments={"original": original.id})
    return accepted(change, operation, (cluster.name, node.name))


def _demand_replaceable(change: Change, cluster: Cluster, node: Node, confirm: str) -> None:
    demand_cluster_match(change, cluster)
    if confirm != node.name:
        raise invalid(
            f"nothing was changed, since the disk of {node.name} would be lost: repeat its name as confirm",
            [("#/confirm", f"it must be {node.name}")],
        )
    demand_cluster_stays(change, cluster, [node])
    demand_startable(node)
    _demand_at_rest(change, node)


def _demand_at_rest(change: Change, node: Node) -> None:
    """Problem unless the node is off, its disk is on its NAS, and nothing is being done with it."""
    demand_unused(node)
    if known_power(node) != "off":
        raise conflict(f"{node.name} has crashed; power it off first")
    if operations.busy_nodes(change.session, [node.id]):
        raise conflict(f"something else is being done with {node.name}; wait until that has ended")
