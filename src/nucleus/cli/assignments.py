"""What keeps a cluster from being given to another project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.mirror import clusters, operations, usage
from nucleus.records import SYSTEM
from nucleus.states import QUEUED, RUNNING
from rocks.core.errors import StateError

if TYPE_CHECKING:
    from nucleus.mirror.identity import Project
    from nucleus.mirror.pool import Session
    from nucleus.records import Cluster


def demand_nothing_of_others(session: Session, cluster: Cluster, project: Project | None) -> None:
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
