"""`nucleus cluster`: whose clusters are, and what keeps one from being given to another project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nucleus.cli.administration import (
    Action,
    check_name,
    declare,
    perform,
    print_table,
    record,
    the_cluster,
    the_project,
)
from nucleus.mirror import clusters, identity, operations, usage
from nucleus.records import SYSTEM
from nucleus.states import QUEUED, RUNNING
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    import argparse

    from nucleus.mirror.identity import Project
    from nucleus.mirror.pool import Session
    from nucleus.records import Cluster

run = perform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its actions."""
    declare(parser, _ACTIONS)


def _list_clusters(_: Any, session: Session) -> None:
    found = clusters.list_clusters(session, SYSTEM)
    permitted = clusters.allocations_of(session, SYSTEM, [one.id for one in found])
    header = ("CLUSTER", "PROJECT", "ROCKS NAME", "ALLOCATIONS", "UNIX ACCOUNT")
    rows = [
        (one.name, one.project, one.rocks_name, ", ".join(permitted[one.id]), one.username) for one in found
    ]
    columns = 5 if any(one.username for one in found) else 4  # few sites set one (nucleus cluster account)
    print_table(header[:columns], [row[:columns] for row in rows])


def _assign(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    project = None if given.project == "none" else the_project(session, given.project)
    number = None if project is None else project.id
    lost: list[str] = []
    if number != cluster.project_id:
        _demand_nothing_of_others(session, cluster, project)
        if cluster.project_id is not None:
            lost = clusters.allocations_of(session, SYSTEM, [cluster.id])[cluster.id]
    for allocation in lost:
        identity.set_allocation(session, cluster.id, allocation, False)
        record(session, "forbid_allocation", f"{cluster.name}/{allocation}")
    clusters.assign_cluster(session, cluster.id, number)
    clusters.bump_generation(session, [cluster.id])
    record(session, "assign_cluster", f"{cluster.name}/{'none' if project is None else project.name}")
    again = [
        f"it may not charge {one}; to permit it again: nucleus allocation permit {one} {cluster.name}"
        for one in lost
    ]
    assigned = f"{cluster.name} is assigned to {'no project' if project is None else project.name}"
    return "\n".join([assigned, *again])


def _describe(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    session.update("cluster", {"description": given.text}, id=cluster.id)
    clusters.bump_generation(session, [cluster.id])
    record(session, "describe_cluster", cluster.name, given.text)
    return f"the description of {cluster.name} is changed"


def _account(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    account = check_name(given.account, "a Unix account") if given.account else ""  # "": it has none any more
    session.update("cluster", {"username": account}, id=cluster.id)
    record(session, "set_account", cluster.name, account)
    return f"the Unix account of {cluster.name} is {account or 'none'}"


def _permit_node(given: Any, session: Session) -> str:
    cluster = the_cluster(session, given.cluster)
    node = clusters.find_node(session, SYSTEM, cluster.id, given.node)
    if node is None:
        raise UserError(
            f"the cluster {cluster.name} has no node {printable(repr(given.node))}; rocks list cluster"
            f" {cluster.rocks_name}"
        )
    session.update("node", {"admin_disabled": given.action == "disable"}, id=node.id)
    clusters.bump_generation(session, [cluster.id])
    record(session, f"{given.action}_node", f"{cluster.name}/{node.name}")
    return f"{given.action}d {node.name} of {cluster.name}"


def _demand_nothing_of_others(session: Session, cluster: Cluster, project: Project | None) -> None:
    """StateError while a computeset of the cluster lives or a change of it is in work, or while a drive has an image of
    another project than the new.
    """
    for number, account in usage.living_sets_in(session, cluster.id):
        raise StateError(
            f"{cluster.name} is not assigned: computeset {number} has not ended, and charges"
            f" {account}; comet terminate {number}, then try again"
        )
    for one in operations.list_operations(
        session, SYSTEM, states=(QUEUED, RUNNING), cluster_id=cluster.id, limit=1
    ):  # it would be done to the cluster of others
        raise StateError(
            f"{cluster.name} is not assigned: a change of it by {one.actor} has not ended ({one.kind}, operation"
            f" {one.id}); try again in a minute"
        )
    if project is None:
        return
    own = f"project/{project.name}/".casefold()
    for node in clusters.nodes_of(session, SYSTEM, [cluster.id])[cluster.id]:
        for image in (node.iso, node.iso_active):
            if image and image.startswith("project/") and not image.casefold().startswith(own):
                raise StateError(
                    f"{cluster.name} is not assigned: {node.rocks_name} has {image} in its drive, an image of"
                    f" another project; rocks set host vm cdrom {node.rocks_name} eject, and rocks stop host vm"
                    f" {node.rocks_name} where it is on: it keeps the image until it is off; then try again in a"
                    " minute"
                )


_NODE = ("cluster", ("node", {"nargs": "?", "metavar": "NODE"}))
_ACTIONS = {
    "list": Action("list the clusters and their projects", _list_clusters),
    "assign": Action("give a cluster to a project; none takes it back", _assign, ("cluster", "project")),
    "describe": Action("set the description that owners read", _describe, ("cluster", "text")),
    "account": Action("set the Unix account of the cluster's jobs", _account, ("cluster", "account")),
    "disable": Action("let nobody start a node; without NODE the frontend", _permit_node, _NODE),
    "enable": Action("let its owners start the node again", _permit_node, _NODE),
}
