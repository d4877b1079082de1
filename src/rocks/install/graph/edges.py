"""The graph language: nodes that include others, and the order of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.install.graph.conditions import read_condition
from rocks.install.graph.document import (
    REMARKS,
    SELECTING,
    attribute,
    check_known_attributes,
    parse_document,
    selection_of,
    where,
)
from rocks.install.graph.records import Edge, Graph, HostContext, Order, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lxml import etree

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
