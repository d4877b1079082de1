"""Clusters and their nodes: rows 1 to 5, 10 and 13 of Table 1 (`decorators.route`), and renaming of many."""

from __future__ import annotations

import json
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from starlette.responses import Response

from comet.client.hostlists import natural_key
from nucleus.api import models
from nucleus.api.decorators import changes, reads, route, when_done
from nucleus.api.etags import etag_of, is_unchanged, names_any, not_modified, require_match
from nucleus.api.paging import chosen, page_of, paged
from nucleus.api.problems import Problem, conflict, invalid
from nucleus.api.quotas import demand_few_renames
from nucleus.api.representations import Freshness, freshness_of
from nucleus.api.service import (
    Change,
    Reading,
    accepted,
    find_cluster,
    find_node,
    known_power,
    no_content,
    unknown_node,
)
from nucleus.limits import MAX_PER_PAGE
from nucleus.mirror import clusters, operations
from nucleus.mirror.columns import to_json
from nucleus.mirror.driver import DuplicateError
from nucleus.states import is_image_free

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nucleus.records import Cluster, Node

router = APIRouter()

Limit = Annotated[int | None, Query(ge=1, le=MAX_PER_PAGE, description="a page of so many; without it, all")]
Cursor = Annotated[str | None, Query(max_length=1024, description="from the header Link of the page before")]
_FIELDS = (
    "only these fields, separated by commas: the answer lacks all others, also those that its schema requires"
)
Fields = Annotated[str | None, Query(max_length=1024, description=_FIELDS)]
Filter = Annotated[str | None, Query(max_length=128)]


def _headers(freshness: Sequence[Freshness]) -> dict[str, str]:
    """`Age`: that of the oldest answer of the site."""
    return {"Age": str(max((one.age_seconds for one in freshness), default=0))}


@route(router, "GET /v1/cluster", "list_clusters", "Your clusters", list[models.Cluster])
@reads
def list_clusters(
    reading: Reading,
    limit: Limit = None,
    cursor: Cursor = None,
    project: Filter = None,
    state: Filter = None,
    name: Annotated[str | None, Query(max_length=128, description="with * and ?")] = None,
    fields: Fields = None,
) -> Response:
    """A node in `state` is enough for its cluster to be listed."""
    call = reading.call
    found = clusters.list_clusters(reading.session, reading.scope, project, state)
    found = sorted(
        (one for one in found if name is None or fnmatchcase(one.name, name)),
        key=lambda one: natural_key(one.name),
    )
    page = page_of(limit, cursor)
    part, headers = paged(call.request, page, [one.name for one in found], natural_key)
    visible = found[part]
    freshness = [freshness_of(one, call.service.configuration.poll, call.now) for one in visible]
    asked = list(zip(visible, freshness, strict=True))
    states = [(one.id, one.generation, age.is_stale) for one, age in asked]
    etag = etag_of(states, fields, headers.get("Link"))
    headers |= _headers(freshness)
    if is_unchanged(call.request, etag):
        return not_modified(etag, headers)
    texts = call.service.cached_clusters.texts(reading.session, reading.scope, asked)
    body: bytes | str = b"[" + b",".join(texts) + b"]"
    if fields:
        body = to_json(chosen(json.loads(body), fields))
    return Response(body, 200, {**headers, "ETag": etag}, "application/json")


def _part_of(reading: Reading, name: str, fields: str | None, what: object, pick: Any) -> Response:
    """A cluster, or what `pick` takes out of it."""
    call, cluster = reading.call, find_cluster(reading, name)
    freshness = freshness_of(cluster, call.service.configuration.poll, call.now)
    etag = etag_of(freshness.is_stale, what, fields, state=_state_of(cluster))
    headers = _headers([freshness])
    if is_unchanged(call.request, etag) and not names_any(call.request):
        return not_modified(etag, headers)
    texts = call.service.cached_clusters.texts(reading.session, reading.scope, [(cluster, freshness)])
    text: bytes | str = texts[0]
    if pick is not None or fields:
        content = json.loads(text)
        text = to_json(chosen(content if pick is None else pick(content), fields))
    if names_any(call.request):
        return not_modified(etag, headers)
    return Response(text, 200, {**headers, "ETag": etag}, "application/json")


@route(router, "GET /v1/cluster/{c}", "get_cluster", "A cluster", models.Cluster)
@reads
def get_cluster(reading: Reading, c: str, fields: Fields = None) -> Response:
    """The cluster with its nodes."""
    return _part_of(reading, c, fields, "cluster", None)


@route(router, "GET /v1/cluster/{c}/compute/{n}", "get_compute", "A compute node", models.Compute)
@reads
def get_compute(reading: Reading, c: str, n: str, fields: Fields = None) -> Response:
    """404 when the cluster has no such node."""

    def pick(content: dict[str, Any]) -> Any:
        for compute in content["computes"]:
            if compute["name"].casefold() == n.casefold():
                return compute
        raise unknown_node(content["name"], n)

    return _part_of(reading, c, fields, ("compute", n), pick)


@route(router, "GET /v1/cluster/{c}/frontend", "get_frontend", "The frontend of a cluster", models.Frontend)
@reads
def get_frontend(reading: Reading, c: str, fields: Fields = None) -> Response:
    """404 when the cluster has none."""

    def pick(content: dict[str, Any]) -> Any:
        if content["frontend"] is None:
            raise unknown_node(content["name"], None)
        return content["frontend"]

    return _part_of(reading, c, fields, "frontend", pick)


def demand_cluster_match(change: Change, cluster: Cluster) -> None:
    """`If-Match` of a change is about the cluster: any ETag of it, or of a part of it, in its present state."""
    require_match(change.call.request, etag_of(state=_state_of(cluster)), f"the cluster {cluster.name}")


def demand_cluster_stays(change: Change, cluster: Cluster, nodes: Sequence[Node] = ()) -> set[int | None]:
    """The numbers of its computes that are being destroyed. Problem while the cluster is, or one of the nodes."""
    leaving = operations.targets_in_work(change.session, cluster.id, "destroy")
    if None in leaving:
        raise conflict(f"{cluster.name} is being destroyed; nothing of it can be started or changed")
    for node in nodes:
        if node.id in leaving:
            raise conflict(f"{node.name} is being destroyed; choose another node")
    return leaving


def _state_of(cluster: Cluster) -> tuple[int, int]:
    return cluster.id, cluster.generation


Confirm = Annotated[str, Query(max_length=128, description="the name, once more")]


@route(router, "DELETE /v1/cluster/{c}", "destroy_cluster", "Destroy a cluster", status_code=204)
@when_done
@changes("cluster:destroy", "destroy")
def destroy_cluster(change: Change, c: str, confirm: Confirm = "") -> Response:
    """Every node must be off, and its disk unmapped."""
    cluster = find_cluster(change, c, lock=True)
    demand_cluster_match(change, cluster)
    _demand_confirmation(confirm, cluster.name)
    for node in clusters.nodes_of(change.session, change.scope, [cluster.id])[cluster.id]:
        demand_unused(node)
    if operations.targets_in_work(change.session, cluster.id, "poweron"):
        raise conflict(
            f"a node of {cluster.name} is being powered on: wait for it, then `comet power off {cluster.name}`, "
            "and repeat the request"
        )
    if operations.targets_in_work(change.session, cluster.id, "attach_iso"):
        raise conflict(f"the drive of a node of {cluster.name} is being changed; wait until that has ended")
    if any(operations.targets_in_work(change.session, cluster.id, kind) for kind in ("reinstall", "clone")):
        raise conflict(f"the disk of a node of {cluster.name} is being replaced; wait until that has ended")
    return accepted(change, change.ask("destroy", cluster), (cluster.name, None))


@route(
    router, "DELETE /v1/cluster/{c}/compute/{n}", "destroy_compute", "Destroy a compute node", status_code=204
)
@when_done
@changes("cluster:destroy", "destroy")
def destroy_compute(change: Change, c: str, n: str, confirm: Confirm = "") -> Response:
    """The node must be off, and its disk unmapped."""
    cluster = find_cluster(change, c, lock=True)
    node = find_node(change, cluster, n, lock=True)
    demand_cluster_match(change, cluster)
    _demand_confirmation(confirm, node.name)
    demand_unused(node)
    return accepted(change, change.ask("destroy", cluster, node), (cluster.name, node.name))


def _demand_confirmation(confirm: str, name: str) -> None:
    if confirm != name:
        raise invalid(
            f"nothing was destroyed: repeat the name with ?confirm={name}",
            [("#/query/confirm", f"it must be {name}")],
        )


def demand_unused(node: Node) -> None:
    """Problem while the node is in a computeset, may run, or its disk is not on its NAS only."""
    if node.set_id is not None:
        raise Problem(
            "node-busy",
            f"{node.name} is in the computeset {node.computeset}, which is {node.set_state}; end it first",
        )
    if (power := known_power(node)) not in ("off", "crashed"):
        raise conflict(f"{node.name} is {power}; power it off first")
    if not is_image_free(node.image_state, node.image_locked):
        raise Problem("node-syncing", f"the disk of {node.name} is being transferred; wait until it is ready")


@route(
    router,
    "POST /v1/cluster/{c}/compute/{n}/rename",
    "rename_compute",
    "Rename a compute node",
    status_code=204,
)
@changes("rename", "rename")
def rename_compute(change: Change, c: str, n: str, body: models.NewName) -> Response:
    """Only the name that users see changes."""
    return _rename(change, c, {n: body.name})


@route(
    router,
    "POST /v1/cluster/{c}/rename",
    "rename_nodes",
    "Rename compute nodes, all at once",
    status_code=204,
)
@changes("rename", "rename")
def rename_computes(change: Change, c: str, body: models.NewNames) -> Response:
    """All change, or none: names can be swapped."""
    return _rename(change, c, body.map)


def _rename(change: Change, name: str, requested: dict[str, str]) -> Response:
    cluster = find_cluster(change, name, lock=True)
    demand_cluster_match(change, cluster)
    nodes = clusters.nodes_of(change.session, change.scope, [cluster.id])[cluster.id]
    renamed = _renamed(cluster.name, nodes, requested)
    before = {node.id: node.name for node in nodes}
    changed = {number: new for number, new in renamed.items() if before[number] != new}
    demand_few_renames(change.session, cluster, len(nodes), len(changed))
    try:
        clusters.rename_nodes(change.session, changed)
    except DuplicateError:
        raise Problem(
            "name-conflict", f"one of the names is taken in {cluster.name}; read it again"
        ) from None
    if changed:
        clusters.bump_generation(change.session, [cluster.id])
        names = {before[number]: new for number, new in changed.items()}
        change.note(cluster.name, before=to_json(names), after=None)
        change.count_nodes(len(names))
        change.record_done(
            "rename", cluster, {"names": names}, next(iter(changed)) if len(changed) == 1 else None
        )
    return no_content()


def _renamed(cluster: str, nodes: Sequence[Node], requested: dict[str, str]) -> dict[int, str]:
    """Number of each compute that is named → its new name. Problem for a name that is not one, or not alone."""
    computes = {node.name.casefold(): node for node in nodes if node.kind == "compute"}
    for old in requested:
        if old.casefold() not in computes:
            raise unknown_node(cluster, old)
    renamed = {computes[old.casefold()].id: new for old, new in requested.items()}
    if len(renamed) < len(requested):
        raise invalid("a node is named twice; name each once")
    digits = next((new for new in requested.values() if new.isdecimal()), None)
    if digits is not None:
        raise invalid(
            f"{digits} cannot name a node: a number is that of a computeset; choose a name with a letter"
        )
    after = Counter(renamed.get(node.id, node.name).casefold() for node in nodes)
    taken = next((new for new in requested.values() if after[new.casefold()] > 1), None)
    if taken is not None:
        raise Problem("name-conflict", f"{taken} would be the name of two nodes of {cluster}; choose another")
    return renamed


def quick_routes() -> list[APIRoute]:
    """The requests that clients repeat: those with a query go the ordinary way."""
    quick = (list_clusters, get_cluster, get_compute, get_frontend)
    return [one for one in router.routes if isinstance(one, APIRoute) and one.endpoint in quick]
