"""The profile of a host: the edges of the graph, the nodes that they reach, in order, and their packages; a picture."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError
from rocks.install.graph.document import (
    HEAD,
    REMARKS,
    SELECTING,
    TAIL,
    Edge,
    Graph,
    HostContext,
    Order,
    Selection,
    applies,
    attribute,
    check_known_attributes,
    parse_document,
    read_condition,
    selection_of,
    where,
)
from rocks.install.graph.tags import node_of, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from lxml import etree

    from rocks.install.graph.document import Node, Source
    from rocks.install.graph.tags import Frontend, NodeTree


# The graph language: nodes that include others, and the order of nodes.


_NO_ENTITIES = HostContext({}, {}, {})
"""Graph files are the same for all hosts: they have no entities."""


def read_graph(files: Iterable[tuple[str, bytes]]) -> Graph:
    """The graph in (place, content) of its files, in their order. StateError for an invalid file."""
    edges: list[Edge] = []
    orders: list[Order] = []
    for place, data in files:
        root = parse_document(data, place, _NO_ENTITIES)
        if root.tag != "graph":
            raise StateError(f"{place} is not a graph file: its root is <{root.tag}> and not <graph>")
        for element in root:
            _read_rule(element, place, edges, orders)
    return Graph(tuple(edges), tuple(orders))


def _read_rule(element: etree._Element, place: str, edges: list[Edge], orders: list[Order]) -> None:
    if element.tag == "edge":
        check_known_attributes(element, SELECTING | {"from", "to"}, place)
        for parent, child, selections in _pairs(element, "from", "to", place):
            edges.append(Edge(parent, child, selections, where(element, place)))
    elif element.tag == "order":
        check_known_attributes(element, SELECTING | {"head", "tail", "gen"}, place)
        generator = attribute(element, "gen")
        for head, tail, selections in _pairs(element, "head", "tail", place):
            orders.append(Order(head, tail, generator, selections, where(element, place)))
    elif element.tag not in REMARKS:
        raise StateError(
            f"{where(element, place)}: <{element.tag}> is not a tag of graphs; these are edge and order"
        )


def _pairs(
    element: etree._Element, first: str, second: str, place: str
) -> Iterator[tuple[str, str, tuple[Selection, ...]]]:
    """(first, second, selections) of a rule that has both as attributes, or one of them and the others as children."""
    given = {name: attribute(element, name) for name in (first, second) if attribute(element, name)}
    own = _selection(element, place)
    if len(given) == 2 and not len(element):
        yield given[first], given[second], (own,)
        return
    if len(given) != 1 or not len(element):
        raise StateError(
            f"{where(element, place)}: <{element.tag}> needs {first} and {second}, or one of them and tags of the other"
        )
    (known,) = given
    expected = second if known == first else first
    for child in element:
        name = (child.text or "").strip()
        if child.tag != expected or not name or len(child):
            raise StateError(f"{where(child, place)}: <{expected}>NAME</{expected}> is expected here")
        check_known_attributes(child, SELECTING, place)
        pair = (given[known], name) if known == first else (name, given[known])
        yield *pair, (own, _selection(child, place))


def _selection(element: etree._Element, place: str) -> Selection:
    selection = selection_of(element)
    if selection.condition:
        try:
            read_condition(selection.condition)
        except StateError as error:
            raise StateError(f"{where(element, place)}: {error}") from None
    return selection


# The nodes of a host, and their order.


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


# The packages of a profile.


def package_names(nodes: Iterable[Node], packaging: str) -> list[str]:
    """The packages of all nodes, sorted; groups are `@name`. A package that one node excludes is left out for all.

    StateError for a group of packages where `packaging` is deb.
    """
    included: dict[str, None] = {}
    excluded = excluded_names(nodes := list(nodes))
    for node in nodes:
        for package in node.packages:
            if package.is_group and packaging == "deb":
                raise StateError(
                    f"{package.place}: {package.name} is a group of packages, and Debian has no groups: "
                    "name its packages for hosts with packaging == 'deb'"
                )
            if not package.is_excluded:
                included[f"@{package.name}" if package.is_group else package.name] = None
    return sorted(set(included) - excluded)


def excluded_names(nodes: Iterable[Node]) -> set[str]:
    """The packages and groups that a node excludes."""
    return {
        f"@{package.name}" if package.is_group else package.name
        for node in nodes
        for package in node.packages
        if package.is_excluded
    }


# The profile of a host: its nodes, in order. Renderers write documents from it.


@dataclass(frozen=True)
class Profile:
    """The nodes of a host, in the order in which they are written; a node that is extended is there several times."""

    host: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class ProfileRequest:
    """For which host a profile is made, from which root of the graph, and for which kind of document.

    `host` is empty for a profile that is made for no host. With `is_complete` every node must have a file.
    """

    host: str
    root: str
    generator: str
    context: HostContext
    is_complete: bool = True


def create_profile(
    request: ProfileRequest,
    graph: Graph,
    files_of: Callable[[str], Sequence[Source]],
    frontend: Frontend | None = None,
) -> Profile:
    """The profile of the host. StateError for a node without a file, a cycle of rules, and invalid files."""
    trees = create_trees(request, graph, files_of, frontend)
    return Profile(request.host, tuple(node_of(tree, request.context) for tree in trees))


def create_trees(
    request: ProfileRequest,
    graph: Graph,
    files_of: Callable[[str], Sequence[Source]],
    frontend: Frontend | None,
) -> list[NodeTree]:
    """The nodes of the host as XML, in their order. Errors as of `create_profile`."""
    reached = reached_nodes(graph.edges, request.root, request.context)
    names = ordered_nodes(reached, graph.orders, request.generator, request.context)
    found: list[tuple[str, Source]] = []
    for name in names:
        sources = files_of(name)
        if not sources and request.is_complete:
            raise StateError(_missing(name, request, graph, reached))
        found += [(name, source) for source in sources]
    return [read_tree(name, source.place, source.data, request.context, frontend) for name, source in found]


def _missing(name: str, request: ProfileRequest, graph: Graph, reached: Sequence[str]) -> str:
    by = [edge for edge in graph.edges if edge.child == name and edge.parent in reached]
    if not by and request.host:
        return (
            f'cannot find node "{name}", with which the graph of host {request.host} begins; '
            "the host's appliance names it, see rocks list appliance"
        )
    if not by:
        return f'cannot find node "{name}", with which the graph begins; see rocks list appliance'
    return (
        f'cannot find node "{name}", which {by[0].parent} includes by {by[0].place}: {name}.xml belongs in the folder '
        "nodes of that roll, or in /etc/rocks/site-nodes"
    )


# The graph of a host in graphviz's language: its nodes, what includes what, and the order.


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
