"""`nucleus cluster`"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.cli.administration import act_of, perform, print_table, record, the_cluster, the_project
from nucleus.mirror import clusters, naming
from nucleus.records import SYSTEM
from rocks.core.errors import UserError

if TYPE_CHECKING:
    import argparse

    from nucleus.mirror.pool import Session

run = perform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    made = act_of(
        parser,
        {
            "list": ("list the clusters and their projects", _list),
            "assign": ("give a cluster to a project; none takes it back", _assign),
            "describe": ("set the description that owners read", _describe),
            "account": ("set the Unix account of the cluster's jobs", _account),
            "disable": ("let nobody start a node; without NODE the frontend", _disable),
            "enable": ("let its owners start the node again", _enable),
        },
    )
    for name in ("assign", "describe", "account", "disable", "enable"):
        made[name].add_argument("cluster", metavar="CLUSTER")
    made["assign"].add_argument("project", metavar="PROJECT")
    made["describe"].add_argument("text", metavar="TEXT")
    made["account"].add_argument("account", metavar="ACCOUNT")
    for name in ("disable", "enable"):
        made[name].add_argument("node", nargs="?", metavar="NODE")


def _list(arguments: argparse.Namespace, session: Session) -> None:
    rows = [
        (one.name, one.project, one.rocks_name, one.username)
        for one in clusters.list_clusters(session, SYSTEM)
    ]
    print_table(("CLUSTER", "PROJECT", "ROCKS NAME", "ACCOUNT"), rows)


def _assign(arguments: argparse.Namespace, session: Session) -> None:
    cluster = the_cluster(session, arguments.cluster)
    project = None if arguments.project == "none" else the_project(session, arguments.project)
    naming.assign_cluster(session, cluster.id, None if project is None else project.id)
    clusters.bump_generation(session, [cluster.id])
    record(session, "assign_cluster", cluster.name, arguments.project)


def _describe(arguments: argparse.Namespace, session: Session) -> None:
    cluster = the_cluster(session, arguments.cluster)
    naming.set_description(session, cluster.id, arguments.text)
    clusters.bump_generation(session, [cluster.id])
    record(session, "describe_cluster", cluster.name, arguments.text)


def _account(arguments: argparse.Namespace, session: Session) -> None:
    cluster = the_cluster(session, arguments.cluster)
    naming.set_account(session, cluster.id, arguments.account)
    record(session, "set_account", cluster.name, arguments.account)


def _disable(arguments: argparse.Namespace, session: Session) -> None:
    _set_disabled(arguments, session, True)


def _enable(arguments: argparse.Namespace, session: Session) -> None:
    _set_disabled(arguments, session, False)


def _set_disabled(arguments: argparse.Namespace, session: Session, is_disabled: bool) -> None:
    cluster = the_cluster(session, arguments.cluster)
    node = clusters.find_node(session, SYSTEM, cluster.id, arguments.node)
    if node is None:
        raise UserError(
            f"the cluster {cluster.name} has no node {arguments.node!r}; rocks list cluster {cluster.rocks_name}"
        )
    naming.set_disabled(session, node.id, is_disabled)
    clusters.bump_generation(session, [cluster.id])
    record(session, "disable_node" if is_disabled else "enable_node", f"{cluster.name}/{node.name}")
