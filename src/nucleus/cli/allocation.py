"""`nucleus allocation`"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.cli.administration import act_of, check_name, perform, print_table, record, the_cluster, unique
from nucleus.mirror import clusters, identity
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
            "list": ("list the allocations and the clusters that may charge them", _list),
            "add": ("add an allocation", _add),
            "permit": ("let a cluster charge an allocation, or no more", _permit),
        },
    )
    for name in ("add", "permit"):
        made[name].add_argument("allocation", metavar="ALLOCATION")
    made["permit"].add_argument("cluster", metavar="CLUSTER")
    made["permit"].add_argument("--remove", action="store_true", help="no more")


def _list(arguments: argparse.Namespace, session: Session) -> None:
    print_table(("ALLOCATION", "CLUSTERS"), identity.list_allocations(session))


def _add(arguments: argparse.Namespace, session: Session) -> None:
    name = check_name(arguments.allocation, "an allocation")
    with unique(f"the allocation {name}"):
        identity.add_allocation(session, name)
    record(session, "add_allocation", name)


def _permit(arguments: argparse.Namespace, session: Session) -> None:
    cluster = the_cluster(session, arguments.cluster)
    if not identity.set_allocation(session, cluster.id, arguments.allocation, not arguments.remove):
        raise UserError(f"there is no allocation {arguments.allocation!r}; nucleus allocation list")
    clusters.bump_generation(session, [cluster.id])
    action = "forbid_allocation" if arguments.remove else "permit_allocation"
    record(session, action, f"{cluster.name}/{arguments.allocation}")
