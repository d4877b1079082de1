"""`comet power …`: a frontend, nodes of running sets, or a whole set. `comet reinstall`, `clone`: fresh disks."""

from __future__ import annotations

from collections.abc import Iterable

from comet.cli import computesets
from comet.cli.context import Context, computes_of, is_terminal, locate, number
from comet.cli.output import safe, shortened, show
from comet.client.errors import NotFoundError, RefusedError, UsageError
from comet.client.hostlists import collect_hostlist, expand_hostlist
from comet.client.records import Outcome, is_of

_DONE = {"on": "on", "off": "off", "shutdown": "off"}
"""The power that an action ends in; a reboot ends as it began."""

_ACCEPTED = {
    "on": "is being switched on",
    "off": "is being switched off",
    "shutdown": "is being asked to shut down",
    "reboot": "is being asked to reboot",
    "reset": "is being reset",
}
"""What is true when the server has accepted it."""

_WAITED = {
    "on": "is on",
    "off": "is off",
    "shutdown": "is off",
    "reboot": "was asked to reboot",
    "reset": "was reset",
}
"""What is true after `--wait`."""

_LOSSES = {"off": "switches {} off at once", "reset": "resets {} at once"}
"""What an action does that no system is asked about: what it has not written is lost."""


def power(context: Context) -> int:
    given = context.arguments
    # a script that names a cluster which is gone must not switch off what has its name
    if given.command[1] == "on" or is_terminal():
        locate(context)
    action, nodes = given.command[1], given.nodes
    if nodes is not None and nodes.casefold() == "all":
        _point_to_all_nodes(context, action)
    if action == "on" and (context.option("count") is not None or _are_free(context, nodes)):
        computesets.start(context)
        return 0
    unused = [it for it in ("allocation", "walltime", "reservation") if context.option(it) is not None]
    if unused:
        raise UsageError(
            f"--{unused[0]} belongs to computes that start as a computeset: name free ones, or give --count"
        )
    if nodes is not None and nodes.isascii() and nodes.isdigit():
        return _power_set(context, action, number(nodes, "a computeset's number"))
    names = None if nodes is None else expand_hostlist(nodes)
    _confirm_loss(context, action, f"the frontend of {given.cluster}" if names is None else str(nodes))
    done = each(context, context.client.power_each(given.cluster, action, names), _ACCEPTED[action])
    return followed(context, given.cluster, done, _WAITED[action], _DONE.get(action))


def _point_to_all_nodes(context: Context, action: str) -> None:
    """UsageError for the word, unless a compute has it as its name: some computes may be free, or in other sets."""
    cluster = context.arguments.cluster
    computes = [it.name for it in context.client.cluster(cluster).computes]
    if all(it.casefold() != "all" for it in computes):
        raise UsageError(
            f"power {action} {cluster} all: name the computes, or a computeset by its number, such as"
            f" comet power {action} {cluster} '{collect_hostlist(computes)}'"
        )


def _confirm_loss(context: Context, action: str, what: str) -> None:
    if action in _LOSSES:
        context.confirm_at_terminal(
            f"This {_LOSSES[action].format(what)}; what is not written to disk is lost. Go on?"
        )


def each(context: Context, outcomes: Iterable[Outcome], accepted: str) -> list[Outcome]:
    """Print a line for each as it is answered; with --wait what is accepted is a message, the result comes later."""
    found = []
    for outcome in outcomes:
        text = str(outcome.error or accepted)
        line = shortened(text if text.startswith(f"the {outcome.target} ") else f"{outcome.target}: {text}")
        if outcome.error or not context.is_waiting:
            show(line)
        else:
            context.say(line)
        found.append(outcome)
    return found


def followed(
    context: Context, cluster: str, outcomes: list[Outcome], done: str, expected: str | None = None
) -> int:
    """With --wait, wait for what was accepted and print that it is `done`.

    The exit status: 9 if some failed, the first error's if all did.
    """
    failed = [it.error for it in outcomes if it.error]
    good = [it for it in outcomes if not it.error]
    waiter = context.waiter() if good else None
    if waiter and expected:
        waiter.power(cluster, good, expected)
    elif waiter:
        waiter.follow(good)
    if waiter:
        for one in good:
            show(safe(f"{one.target}: {done}"))
    if not failed:
        return 0
    return 9 if good else failed[0].exit_status


def _are_free(context: Context, nodes: str | None) -> bool:
    """Computes outside any set, so that switching them on means to start a set; a mixture is refused."""
    if nodes is None or (nodes.isascii() and nodes.isdigit()):
        return False
    names = expand_hostlist(nodes)
    computes = computes_of(context, names)
    sets = {name: computes[name.casefold()].computeset for name in names}
    free = [it for it in names if sets[it] is None]
    if free and len(free) < len(names):
        held = next(it for it in names if sets[it] is not None)
        raise RefusedError(
            f"{free[0]} is free, but {held} is in computeset {sets[held]}: name either free computes, which start as "
            "a new computeset, or those of running computesets"
        )
    return bool(free)


def _power_set(context: Context, action: str, chosen: int) -> int:
    cluster = context.arguments.cluster
    if action == "on":
        raise UsageError(f"{chosen} is a computeset's number; start one with comet start {cluster} NODES")
    found = context.client.computeset(chosen)
    if not is_of(cluster, found):
        raise NotFoundError(
            f"computeset {chosen} is not one of cluster {cluster}. List them: comet computeset"
        )
    if action in ("off", "shutdown"):
        computesets.demand_living(found)
        context.confirm(computesets.end_question(found))
        computesets.end_set(context, chosen, hard=action == "off")
        return 0
    count = len(found.computes)
    nodes = "the node" if count == 1 else f"the {count} nodes"
    _confirm_loss(context, action, f"{nodes} of computeset {chosen}")
    outcomes = each(context, context.client.power_each(cluster, action, computeset=chosen), _ACCEPTED[action])
    return followed(context, cluster, outcomes, _WAITED[action])


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
