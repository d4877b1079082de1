"""What `comet launch` launches, of which group: checked before there is a computeset."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

from comet.cli.computesets import only_allocation
from comet.cli.context import Context, number
from comet.client.errors import RefusedError, UsageError
from comet.client.launchers import Group, Launch, read_launcher
from comet.client.records import ClusterRecord, Computeset


def planned(context: Context, group: Group, folder: Path, count: Optional[int]) -> Launch:
    """A new launch, after all checks that need neither a computeset nor SSH."""
    launcher = read_launcher(folder, count)
    given = _given_set(context)
    if given is not None:
        launcher = replace(
            launcher, nodes=len(given.computes), walltime=given.walltime_mins or launcher.walltime
        )
    target = Path.cwd() / f"{group.name}-results"
    if os.path.lexists(target):
        raise UsageError(
            f"the results would go to {target}, which exists: remove it, or choose another --group"
        )
    cluster = _cluster(context) if given is None else context.client.cluster(given.cluster)
    front = cluster.frontend
    if front is None:
        raise RefusedError(f"cluster {cluster.name} has no frontend, through which its computes are reached")
    if front.power == "off":
        raise RefusedError(
            f"the frontend {front.name} is off, through which computes are reached: comet power on {cluster.name}"
        )
    if launcher.nodes > len(cluster.computes):
        raise UsageError(
            f"the launcher needs {launcher.nodes} nodes, and {cluster.name} has {len(cluster.computes)}"
        )
    endpoint = context.client.endpoint
    asked = (endpoint.url, endpoint.username, launcher, cluster.name)
    places = (front.pub_ip or front.name, str(target))
    if given is not None:
        return Launch(*asked, given.account, *places, computeset=given.id, created=given.created)
    return Launch(*asked, context.option("allocation") or only_allocation(context, cluster.name), *places)


def _given_set(context: Context) -> Optional[Computeset]:
    """The computeset of --computeset, which somebody has started; None without it."""
    asked = context.option("computeset")
    if asked is None:
        return None
    for option, text in (("count", "-n"), ("cluster", "--cluster"), ("allocation", "--allocation")):
        if context.option(option) is not None:
            raise UsageError(f"{text} is determined by computeset {asked}: leave {text} out")
    found = context.client.computeset(number(str(asked), "a computeset's number"))
    if found.state not in ("created", "submitted", "running"):
        raise UsageError(f"computeset {asked} is {found.state}: start another one, or leave out --computeset")
    return found


def _cluster(context: Context) -> ClusterRecord:
    """The chosen cluster, or the only one."""
    chosen = context.option("cluster")
    if chosen is not None:
        return context.client.cluster(chosen)
    found = context.client.clusters()
    if len(found) != 1:
        names = ", ".join(it.name for it in found)
        raise UsageError(f"choose a cluster with --cluster=NAME: {names}" if found else "you have no cluster")
    return found[0]


def demand_same(context: Context, group: Group, it: Launch, folder: Path, count: Optional[int]) -> None:
    """UsageError where the group is that of another launch."""
    endpoint, nodes, origin = context.client.endpoint, it.launcher.nodes, it.launcher.folder
    cluster = str(context.option("cluster") or it.cluster)
    asked = (endpoint.url, endpoint.username, str(folder.resolve()), nodes if count is None else count)
    if asked != (it.endpoint, it.username, origin, nodes) or cluster.casefold() != it.cluster.casefold():
        raise UsageError(
            f"group {group.name} was launched from {origin} with {nodes} nodes on {it.cluster}, as {it.username} at "
            f"{it.endpoint}: choose another --group, or launch it so again"
        )
    given = context.option("computeset")
    if given is not None and number(str(given), "a computeset's number") != it.computeset:
        raise UsageError(
            f"group {group.name} was not launched on computeset {given}, but on {it.computeset or 'one of its own'}: "
            "choose another --group, or leave out --computeset"
        )
