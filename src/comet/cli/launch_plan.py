"""What is launched: the checks before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from comet.cli.computesets import only_allocation
from comet.cli.context import Context
from comet.client.errors import RefusedError, UnreachableError, UsageError
from comet.client.frontend import Frontend
from comet.client.launch_state import Group, Launch
from comet.client.launchers import read_launcher
from comet.client.records import ClusterRecord


def planned(context: Context, group: Group, folder: Path, count: Optional[int]) -> Launch:
    """A new launch, after all checks that need no computeset; its folder on the frontend is there."""
    launcher = read_launcher(folder, count)
    target = Path.cwd() / f"{group.name}-results"
    if os.path.lexists(target):
        raise UsageError(
            f"the results would go to {target}, which exists: remove it, or choose another --group"
        )
    cluster = _cluster(context)
    front = cluster.frontend
    if front is None or front.power == "off":
        raise RefusedError(
            f"cluster {cluster.name} has no frontend, by which its computes are reached"
            if front is None
            else f"{front.name} is off, by which computes are reached: comet power on {cluster.name}"
        )
    if launcher.nodes > len(cluster.computes):
        raise UsageError(
            f"{launcher.nodes} nodes are asked for, and {cluster.name} has {len(cluster.computes)}"
        )
    allocation = context.option("allocation") or only_allocation(context, cluster.name)
    endpoint = context.client.endpoint
    found = Launch(
        *(endpoint.url, endpoint.username, launcher, cluster.name, allocation),
        *(front.pub_ip or front.name, str(target)),
    )
    frontend = frontend_of(group, found)
    try:
        frontend.prepare()
    except UnreachableError as error:
        raise UnreachableError(
            f"{error}. {front.name} is on: does ssh {frontend.login} reach it from here, and ask nothing?"
        ) from error
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


def demand_same(context: Context, group: Group, found: Launch, folder: Path, count: Optional[int]) -> None:
    """UsageError where the group is that of another launch."""
    endpoint, cluster = context.client.endpoint, context.option("cluster")
    was = None
    if (found.endpoint, found.username) != (endpoint.url, endpoint.username):
        was = f"at {found.endpoint} as {found.username or 'the user of a token'}"
    elif found.launcher.folder != str(folder.resolve()):
        was = f"from {found.launcher.folder}"
    elif count not in (None, found.launcher.nodes):
        was = f"with {found.launcher.nodes} nodes"
    elif cluster is not None and cluster.casefold() != found.cluster.casefold():
        was = f"on {found.cluster}"
    if was:
        raise UsageError(
            f"group {group.name} was launched {was}: choose another --group, or launch it so again"
        )


def frontend_of(group: Group, it: Launch) -> Frontend:
    """The frontend of a launch, with its folder there."""
    return Frontend(it.launcher.user, it.address, f"comet-launch/{group.name}.{it.key[:8]}")
