"""The profile of a host: its nodes, in order. Renderers write documents from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError
from rocks.install.graph.node_order import ordered_nodes, reached_nodes
from rocks.install.graph.tags import node_of, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.install.graph.frontend_tags import Frontend, NodeTree
    from rocks.install.graph.records import Graph, HostContext, Node, Source


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
