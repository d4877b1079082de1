"""ISO images: rows 6, 14 and 33 of Table 1 (`decorators.route`), those that nodes may get, and deleting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from comet.client.hostlists import collect_hostlist
from nucleus.api import models
from nucleus.api.clusters import demand_cluster_match, demand_cluster_stays
from nucleus.api.decorators import changes, reads, route, route_of_nodes
from nucleus.api.etags import conditional_json
from nucleus.api.nodes import demand_possible, named_nodes
from nucleus.api.problems import Problem, Remedy, conflict, forbidden, invalid
from nucleus.api.representations import shaped
from nucleus.api.service import Change, Reading, accepted, find_cluster, find_node
from nucleus.records import NewEvent, NewOperation
from owners.images import records as images

if TYPE_CHECKING:
    from nucleus.records import Cluster, Node, Operation
    from owners.images.records import Image

router = APIRouter()

MEDIA_TYPE = "application/vnd.nucleus.v1+json"


@route(
    router,
    "GET /v1/image",
    "list_images",
    "Images",
    list[str],
    responses={
        200: {
            "content": {
                MEDIA_TYPE: {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Image"}}}
            }
        }
    },
)
@reads
def list_images(reading: Reading) -> Response:
    """Their names; with the media type of this service, objects."""
    request, found = reading.call.request, images.list_images(reading.session, reading.scope)
    if MEDIA_TYPE not in request.headers.get("accept", ""):
        return conditional_json(request, [one.text for one in found], {"Vary": "Accept"})
    objects = [shaped(models.Image, one, name=one.text, size=one.size_bytes) for one in found]
    response = conditional_json(request, objects, {"Vary": "Accept"})
    response.headers["Content-Type"] = MEDIA_TYPE
    return response


def split_reference(text: str) -> tuple[str | None, str]:
    """(project, name) of public/NAME, project/PROJECT/NAME, or NAME = public/NAME. Problem for another form.

    The published client takes names from the list and sends them behind public/, those of projects, too.
    """
    parts = text.split("/")
    if parts[:2] == ["public", "project"]:
        del parts[0]
    if len(parts) == 3 and parts[0] == "project":
        return parts[1], parts[2]
    if len(parts) == 2 and parts[0] == "public":
        return None, parts[1]
    if len(parts) == 1:
        return None, parts[0]
    raise unknown_image(text)


def unknown_image(text: str) -> Problem:
    """The refusal of an image that is not there, or not the caller's."""
    return Problem("unknown-image", f"there is no image {text[:200]!r} for you; `comet iso list` lists them")


def find_image(change: Change, text: str, cluster: Cluster) -> Image:
    """The image for a node of the cluster. A name alone: the project's own before everybody's.

    public/NAME: everybody's before the project's own, which the published client calls by that name, too. The first
    one that exists is meant: while it is not ready, no other one stands in for it.
    """
    project, name = split_reference(text)
    places: tuple[str | None, ...] = (project,)
    if project is None and cluster.project:
        places = (None, cluster.project) if "/" in text else (cluster.project, None)
    for place in places:
        found = images.find_image(change.session, change.scope, place, name)
        if found and found.project_id in (None, cluster.project_id):
            if found.state == "ready":
                return found
            break
    raise unknown_image(text)


@route(
    router, "DELETE /v1/image/public/{name}", "delete_public_image", "Delete a public image", status_code=204
)
@changes("image", "delete_image")
def delete_public_image(change: Change, name: str) -> Response:
    """By operators, and by who has uploaded it. Refused while a node has it in its drive."""
    return _delete(change, None, name)


@route(
    router, "DELETE /v1/image/project/{project}/{name}", "delete_project_image", "Delete an image of a project",
    status_code=204,
)  # fmt: skip
@changes("image", "delete_image")
def delete_project_image(change: Change, project: str, name: str) -> Response:
    """Refused while a node has it in its drive."""
    return _delete(change, project, name)


def _delete(change: Change, project: str | None, name: str) -> Response:
    image = images.find_image(change.session, change.scope, project, name, lock=True)
    if image is None or image.state == "uploading":
        raise unknown_image(images.reference(project, name))
    if image.project_id is None and not change.scope.is_operator and image.uploaded_by != change.caller.actor:
        raise forbidden(f"{image.text} is everybody's; only operators delete it")
    if image.in_use:
        raise _in_use(change, image)
    if operation := images.attaching(change.session, image.id):
        raise conflict(
            f"{image.text} is being put into a drive; wait until that has ended", operation=operation
        )
    images.set_state(change.session, image.id, "deleting")
    change.events.append(NewEvent("image.removed", image.text, "ready", None, image.project_id))
    new = NewOperation(
        "remove_image", "", project_id=image.project_id,
        arguments={"image": image.id, "library_name": image.library_name, "reference": image.text},
        unique_key=f"remove-image-{image.id}",
    )  # fmt: skip
    return accepted(change, change.enqueue(new, image.text), (None, None))


def _in_use(change: Change, image: Image) -> Problem:
    """The refusal while machines have it in their drive: it names those that the caller may see."""
    seen = images.nodes_with(change.session, change.scope, image.text)
    targets, whose = _of_drives([one[:3] for one in seen if one[3]])
    taken_out, runs_with = _of_drives([one[:3] for one in seen if not one[3]])
    others = image.in_use - len(seen)
    if others > 0:  # one may have been ejected since it was counted
        whose.append(f"{others} machine{'s' if others > 1 else ''} of other projects")
    held = [f"is in the drive of {' and '.join(whose)}"] if whose else []
    if runs_with:
        held.append(
            f"was taken out of the drive of {' and '.join(runs_with)}, where it is in use until the power is off"
        )
    return conflict(
        f"{image.text} {' and '.join(held)}",
        remedy=Remedy("eject-image", {"targets": targets}) if targets else None,
    )


def _of_drives(seen: list[tuple[str, str, str]]) -> tuple[list[str], list[str]]:
    """(cluster, kind, name) of nodes, as commands take them and in words."""
    frontends = [cluster for cluster, kind, _ in seen if kind == "frontend"]
    computes: dict[str, list[str]] = {}
    for cluster, kind, name in seen:
        if kind != "frontend":
            computes.setdefault(cluster, []).append(name)
    nodes = {cluster: collect_hostlist(names) for cluster, names in computes.items()}
    whose = [f"the frontend of {cluster}" for cluster in frontends]
    whose += [f"{names} of {cluster}" for cluster, names in nodes.items()]
    return frontends + [f"{cluster} {names}" for cluster, names in nodes.items()], whose


IsoQuery = Annotated[
    str | None, Query(max_length=300, description="public/NAME or project/PROJECT/NAME; empty: take it out")
]


IsoBody = Annotated[models.IsoName | None, Body()]


_ATTACH = ("attach_compute_iso", "attach_frontend_iso")


@route_of_nodes(
    router, "PUT /v1/cluster/{c}/NODE/attach_iso", _ATTACH, "Put an image into {}", status_code=204
)
@changes("image", "attach_iso")
def attach(change: Change, c: str, n: str, iso_name: IsoQuery = None, body: IsoBody = None) -> Response:
    """An image is there from the next power-on; a reboot or reset changes nothing. An empty name takes it out."""
    iso = iso_name if iso_name is not None or body is None else body.iso_name
    if iso is None:
        raise invalid(
            "which image? send ?iso_name=public/NAME, or an empty iso_name to take the image out",
            [("#/query/iso_name", "it is missing")],
        )
    cluster = find_cluster(change, c, lock=True)
    node = find_node(change, cluster, n, lock=True)
    return accepted(change, _attach_nodes(change, cluster, [node], iso), (cluster.name, node.name))


@route(
    router, "PUT /v1/cluster/{c}/attach_iso", "attach_nodes", "Put an image into many nodes", status_code=204
)
@changes("image", "attach_iso")
def attach_many(change: Change, c: str, body: models.IsoNodes) -> Response:
    """One operation, whose result has an entry for each node."""
    cluster = find_cluster(change, c, lock=True)
    named = body.nodes
    nodes = [find_node(change, cluster, None)] if named is None else named_nodes(change, cluster, named)
    return accepted(change, _attach_nodes(change, cluster, nodes, body.iso_name), (cluster.name, None))


def _attach_nodes(change: Change, cluster: Cluster, nodes: list[Node], iso: str) -> Operation:
    demand_cluster_match(change, cluster)
    demand_cluster_stays(change, cluster, nodes)
    demand_possible(change, "attach_iso", cluster, nodes)
    image = find_image(change, iso, cluster) if iso else None
    arguments: dict[str, Any] = {"image": image and image.id, "iso": image and image.text}
    if len(nodes) == 1:
        return change.ask("attach_iso", cluster, nodes[0], arguments=arguments)
    arguments["nodes"] = [node.id for node in nodes]
    return change.ask("attach_iso", cluster, arguments=arguments, target=f"{cluster.name}/{len(nodes)} nodes")
