"""The graph of a host in graphviz's language: its nodes, what includes what, and the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.install.graph.conditions import applies
from rocks.install.graph.node_order import reached_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rocks.install.graph.records import Edge, Graph, HostContext, Selection


def digraph(graph: Graph, hosts: Iterable[tuple[str, HostContext]], size: str, is_landscape: bool) -> str:
    """The digraph of hosts, each a root of the graph with its context: what any of them reaches.

    `size` is the greatest width and height in inches, `100,100`. An edge with conditions has them as its label. Dashed
    lines are the order.
    """
    names: dict[str, None] = {}
    edges: dict[str, None] = {}
    orders: dict[str, None] = {}
    roots: dict[str, None] = {}
    for root, context in hosts:
        reached = reached_nodes(graph.edges, root, context)
        roots[root] = None
        names |= dict.fromkeys(reached)
        edges |= dict.fromkeys(_edges(graph.edges, reached, context))
        for order in graph.orders:
            if order.head in reached and order.tail in reached and applies(order.selections, context):
                line = f"{_quoted(order.head)} -> {_quoted(order.tail)} [style=dashed color=grey constraint=false];"
                orders[line] = None
    lines = ["digraph rocks {", f"  size={_quoted(size)};", "  node [shape=ellipse];"]
    lines += ["  rotate=90;"] if is_landscape else []
    lines += [f"  {_quoted(name)}{' [shape=box]' if name in roots else ''};" for name in names]
    lines += [f"  {line}" for line in (*edges, *orders)]
    return "\n".join([*lines, "}"]) + "\n"


def _edges(edges: Sequence[Edge], reached: Collection[str], context: HostContext) -> Iterable[str]:
    for edge in edges:
        if edge.parent in reached and applies(edge.selections, context):
            label = " and ".join(text for one in edge.selections for text in _conditions(one))
            more = f" [label={_quoted(label)}]" if label else ""
            yield f"{_quoted(edge.parent)} -> {_quoted(edge.child)}{more};"


def _conditions(selection: Selection) -> Iterable[str]:
    for name in ("arch", "os", "release"):
        if getattr(selection, name):
            yield f"{name} {'/'.join(getattr(selection, name))}"
    if selection.condition:
        yield f"({selection.condition})"


def _quoted(text: str) -> str:
    """A text of graphviz's language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
