"""The site's own node and graph files: those with an error, and those that nothing uses.

A site has nodes and edges of its own in /etc/rocks, read after all others. A file with the name of a node
that exists is an error and does not hide ours: an upgrade could add a node of that name. The check asks no
host and runs no `eval`, so that it is quick enough between two edits; that is why it is not only a part of
`check site`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import RocksError, StateError
from rocks.core.names import counted
from rocks.core.near_names import did_you_mean
from rocks.install.graph.document import HEAD, TAIL, Graph, HostContext
from rocks.install.graph.profile import check_orders, reached_nodes, read_graph
from rocks.install.graph_files import CHANGING, DEFAULT_GRAPH, Library, read_source
from rocks.install.node_file_checks import check_node_file, created_files
from rocks.inventory.appliances import Appliance, load_appliances
from rocks.inventory.attributes.records import resolve_members
from rocks.inventory.attributes.rules import Member
from rocks.inventory.host_records import names_like

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.install.graph.document import Edge, Order

OK, WRONG = "ok", "wrong"


class FileCheck(NamedTuple):
    """A file of the site: its path, `OK` or `WRONG`, and what it does or what is wrong with it."""

    file: str
    result: str
    detail: str


class _Nodes(NamedTuple):
    """The nodes that have a file, those to which an edge of any graph leads, and the roots of appliances."""

    known: Mapping[str, Path]
    included: Collection[str]
    roots: Collection[str]


def check_site_files(database: Database, base: Path | None) -> list[FileCheck]:
    """Check the site's graph files, then its node files; `base` as in `Library`. No host is asked.

    What is in a section is checked for the syntax of bash, whatever a host has; `eval` is not executed.
    """
    library = Library(base)
    appliances = load_appliances(database, names_like(database, "appliances", ())[0])
    as_hosts = [Member(one.name, one.os, one.name, one.membership, "", "", "x86_64") for one in appliances]
    attributes = resolve_members(database, as_hosts)
    database.end_reading()  # bash may take its time
    site_graphs = library.site_graphs()
    graphs = {DEFAULT_GRAPH, *site_graphs, *(one.graph for one in appliances if one.graph)}
    nodes = _Nodes(
        library.node_names(),
        {edge.child for name in graphs for edge in _readable(library, name).edges},
        {one.node for one in appliances},
    )
    found = [
        _checked(path, partial(_graph_file, library, name, path, nodes))
        for name, paths in site_graphs.items()
        for path in paths
    ]
    own = library.site_nodes()
    twice: dict[str, str] = {}
    for one in appliances if own else ():
        twice |= _created_twice(library, one, {name: it.value for name, it in attributes[one.name].items()})
    found += [_checked(path, partial(_node_file, library, path, nodes, twice)) for path in own]
    misplaced = library.misplaced_site_files().items()
    return found + [FileCheck(str(path), WRONG, f"it is not read: {reason}") for path, reason in misplaced]


def _checked(path: Path, check: Callable[[], str]) -> FileCheck:
    try:
        return FileCheck(str(path), OK, check())
    except RocksError as error:
        text = str(error).removeprefix(f"{path}, ").removeprefix(f"{path} ")
        return FileCheck(str(path), WRONG, text)


def _readable(library: Library, graph: str) -> Graph:
    """The rules of all files of a graph that have no error."""
    edges: list[Edge] = []
    orders: list[Order] = []
    try:
        sources = library.graph_files(graph)
    except StateError:
        return Graph()
    for source in sources:
        try:
            read = read_graph([source])
        except StateError:
            continue  # the file's own check reports it, or the first profile that needs it
        edges += read.edges
        orders += read.orders
    return Graph(tuple(edges), tuple(orders))


def _graph_file(library: Library, graph: str, path: Path, nodes: _Nodes) -> str:
    """What a graph file has. StateError for an error in it, and for a node that does not exist."""
    own = read_graph([read_source(path)])
    for edge in own.edges:
        for name in (edge.parent, edge.child):
            _check_known(name, edge.place, nodes)
    for order in own.orders:
        for name in {order.head, order.tail} - {HEAD, TAIL}:
            _check_known(name, order.place, nodes)
    try:
        check_orders(_readable(library, graph).orders)
    except StateError as error:
        if f"({path}" in str(error):
            raise  # a cycle of other files is no error of this one
    return f"{counted(len(own.edges), 'edge')}, {counted(len(own.orders), 'order')}"


def _check_known(name: str, place: str, nodes: _Nodes) -> None:
    if name not in nodes.known:
        raise _no_node(name, nodes, f"{place}: ")


def _no_node(name: str, nodes: _Nodes, place: str = "") -> StateError:
    return StateError(f'{place}there is no node "{name}"; {did_you_mean(name, nodes.known)}'.rstrip("; "))


def _created_twice(library: Library, appliance: Appliance, attributes: Mapping[str, str]) -> dict[str, str]:
    """Node file → which file it creates that another node file of the appliance creates, too."""
    found: dict[str, str] = {}
    first: dict[str, tuple[str, str]] = {}
    edges = _readable(library, appliance.graph or DEFAULT_GRAPH).edges
    for name in reached_nodes(edges, appliance.node, HostContext(attributes, attributes, {})):
        with suppress(RocksError):  # the check of that file reports it
            for source in library.node_files(name):
                for file in created_files(library, name, source, attributes):
                    other, place = first.setdefault(file.path, (source.place, file.place))
                    if other != source.place:
                        both = f"{place}, and {file.place}, create {file.path}, and the later one stays"
                        found[other] = found[source.place] = f"for the appliance {appliance.name}, {both}"
    return found


def _node_file(library: Library, path: Path, nodes: _Nodes, twice: Mapping[str, str]) -> str:
    """What a node file is. StateError for an error in it, and for one that no host can use."""
    prefix = next((prefix for prefix in CHANGING if path.name.startswith(prefix)), "")
    name = path.stem.removeprefix(prefix)
    if prefix and name not in nodes.known:
        raise _no_node(name, nodes)
    library.node_files(name)
    check_node_file(library, name, read_source(path))
    if str(path) in twice:
        raise StateError(twice[str(path)])
    if prefix:
        return f"{'extends' if prefix == 'extend-' else 'replaces'} {nodes.known[name]}"
    if name not in nodes.included and name not in nodes.roots:
        raise StateError(
            f"no edge leads to the node {name}: add one to a file in /etc/rocks/site-graphs/{DEFAULT_GRAPH}"
        )
    return f"the node {name}"
