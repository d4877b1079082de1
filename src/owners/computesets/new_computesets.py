"""What a new computeset asks for: its nodes, hosts, walltime and allocation, each refused unless it can have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comet.client.hostlists import natural_key
from nucleus.api.nodes import named_nodes, nodes_by_name, seen_ago
from nucleus.api.problems import Problem, conflict, forbidden, invalid, limited
from nucleus.api.quotas import demand_limit
from nucleus.hostlists import expand
from nucleus.limits import MAX_WALLTIME_MINUTES
from nucleus.mirror import clusters, identity
from nucleus.mirror.hosts import listed_hosts
from nucleus.states import ACTIVE, RUNNING, SYNCING, disk_state, is_ending, is_image_free
from owners.computesets import models
from owners.computesets import records as computesets
from owners.computesets.records import committed_minutes, has_started_lately
from owners.computesets.slurm import RESERVATIONS
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nucleus.api.service import Call, Change
    from nucleus.mirror.pool import Session
    from nucleus.records import Cluster, Node

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
    change: Change, cluster: Cluster, body: models.NewComputeset, leaving: Collection[int | None]
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
        hosts = [one.host for one in body.computes if isinstance(one, models.Host) and one.host]
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
            f"{node.name} is in the computeset {node.set_id}, which is {node.set_state}; choose another node",
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
            "this site has no hosts for computesets; ask its operators",
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


def walltime_of(call: Call, body: models.NewComputeset) -> int:
    """In minutes: the requested one, else that of the site. Problem for one that the site does not permit."""
    batch = call.service.configuration.batch
    minutes = batch.walltime_minutes if body.walltime_mins is None else int(body.walltime_mins)
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
    if project is not None and "node_hours" in project.limits:
        minutes += committed_minutes(change.session, account)
        demand_limit(project, "node_hours", -(-minutes * 100 // 60) / 100, f" on {account}")


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
                "node-busy", f"the computeset {one.id} of {node.name} is ending; wait until it has ended"
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
        return f": its set {node.set_id} is {node.set_state}"
    if node.state == ACTIVE:
        return f", and on{seen_ago(change, cluster, node)}; ask the site's operators to power it off"
    return f"; `comet start {cluster.name} {node.name}` starts one"
