"""The nodes of a host, and their order."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.install.graph.conditions import applies
from rocks.install.graph.records import HEAD, TAIL, HostContext, Selection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rocks.install.graph.records import Edge, Order


def reached_nodes(edges: Iterable[Edge], root: str, context: HostContext) -> list[str]:
    """The root and the nodes that it includes, each once, in depth-first order."""
    children: dict[str, list[str]] = {}
    for edge in edges:
        if applies(edge.selections, context):
            children.setdefault(edge.parent, []).append(edge.child)
    found: dict[str, None] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += reversed(children.get(name, []))
    return list(found)


def ordered_nodes(
    names: Collection[str], orders: Iterable[Order], generator: str, context: HostContext
) -> list[str]:
    """The names as the rules order them; those that no rule names come last, by name, but before what follows TAIL.

    A rule holds also where the node between two others is not among the names. StateError for rules that go in a
    circle.
    """
    orders = list(orders)
    rules = [
        (order.head, order.tail)
        for order in orders
        if order.generator in ("", generator) and applies(order.selections, context)
    ]
    heads: dict[str, set[str]] = {}
    tails: dict[str, set[str]] = {}
    for head, tail in rules:
        heads.setdefault(tail, set()).add(head)
        tails.setdefault(head, set()).add(tail)
    first, last = _beyond(HEAD, heads), _beyond(TAIL, tails)
    sequence = _sorted(heads, {(order.head, order.tail): order.place for order in orders})
    named = {*heads, *tails, HEAD, TAIL}
    parts = (
        [name for name in sequence if name in first],
        [name for name in sequence if name not in first and name not in last],
        sorted(name for name in names if name not in named),
        [name for name in sequence if name in last],
    )
    return [name for part in parts for name in part if name in names]


def check_orders(orders: Iterable[Order]) -> None:
    """StateError for rules that go in a circle on every host; those with conditions may exclude each other."""
    always = [one for one in orders if all(selection == Selection() for selection in one.selections)]
    ordered_nodes((), always, "", HostContext({}, {}, {}))


def _beyond(start: str, steps: Mapping[str, set[str]]) -> set[str]:
    """All that the steps lead to from the start, the start left out unless they lead back."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in steps.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _sorted(heads: Mapping[str, set[str]], places: Mapping[tuple[str, str], str]) -> list[str]:
    """All names of the rules, each after its heads, those that are free at the same time by name."""
    sorter = TopologicalSorter(heads)
    try:
        sorter.prepare()
    except CycleError as error:
        names = error.args[1]
        rules = [
            f"{head} before {tail}" + (f" ({places[head, tail]})" if places.get((head, tail)) else "")
            for head, tail in pairwise(names)
        ]
        raise StateError(
            f"the order of the graph has a cycle: {', '.join(rules)}; remove one of these rules from the graph files"
        ) from None
    found: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found += ready
        sorter.done(*ready)
    return found
