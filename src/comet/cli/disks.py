"""`comet reinstall` and `comet clone`: fresh disks for nodes."""

from __future__ import annotations

from comet.cli.context import Context
from comet.cli.power import each, followed
from comet.client.hostlists import expand_hostlist


def reinstall(context: Context) -> int:
    cluster, nodes, image = context.arguments.cluster, context.arguments.nodes, context.option("image")
    what = f"the frontend of {cluster}" if nodes is None else nodes
    context.confirm(f"This gives {what} a fresh disk; all that is on the old one is lost. Go on?")
    names = None if nodes is None else expand_hostlist(nodes)
    outcomes = each(context, context.client.reinstall_each(cluster, names, image), "gets a fresh disk")
    return followed(context, cluster, outcomes, "a fresh disk from the next power-on")


def clone(context: Context) -> int:
    cluster, original, nodes = (getattr(context.arguments, it) for it in ("cluster", "original", "nodes"))
    context.confirm(
        f"This gives {nodes} a clone of the disk of {original}; all that is on theirs is lost. Go on?"
    )
    clones = context.client.clone_each(cluster, original, expand_hostlist(nodes))
    outcomes = each(context, clones, f"gets a clone of the disk of {original}")
    return followed(context, cluster, outcomes, f"has a clone of the disk of {original}")
