"""The graph of hosts as a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, ToolError, UserError
from rocks.core.process import run_checked
from rocks.install.graph.profile import digraph
from rocks.install.graph_files import Library
from rocks.install.host_profiles import host_context, load_sites
from rocks.install.node_documents import graph_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rocks.database.connection import Database

_DOT_SECONDS = 120


@dataclass(frozen=True)
class PictureOptions:
    """How a graph is drawn. `size` is width and height in inches; `arch` replaces that of the hosts.

    `is_svg`: as the picture that graphviz makes, and not in graphviz's language.
    """

    base: Path | None = None
    arch: str = ""
    size: str = "100,100"
    is_landscape: bool = False
    is_svg: bool = False


def host_graph(
    database: Database, names: Sequence[str], options: PictureOptions, with_profile: bool = False
) -> str:
    """The graph that the hosts reach together; `with_profile`: those of them that have a profile.

    UserError for hosts of several graphs; StateError for an invalid one, and for a host without a profile.
    ToolError when graphviz is missing or fails.
    """
    sites = load_sites(database, names, with_profile)
    if not sites:
        raise StateError("there is no host with a profile, whose graph could be drawn; see rocks add host")
    arch = {"arch": options.arch} if options.arch else {}
    contexts = [replace(own, attributes={**own.attributes, **arch}) for own in map(host_context, sites)]
    graphs = sorted({context.attributes["graph"] for context in contexts})
    if len(graphs) > 1:
        raise UserError(f"the hosts are of the graphs {', '.join(graphs)}: name hosts of one of them")
    graph = graph_of(Library(options.base), graphs[0])
    roots = [(site.appliance.node, context) for site, context in zip(sites, contexts, strict=True)]
    text = digraph(graph, roots, options.size, options.is_landscape)
    return _picture(text) if options.is_svg else text


def _picture(text: str) -> str:
    try:
        return run_checked(["dot", "-Tsvg"], deadline_seconds=_DOT_SECONDS, standard_input=text.encode()).text
    except ToolError as error:
        raise ToolError(
            f"{error}; format=svg needs graphviz: apt-get install graphviz, or print the text without format="
        ) from None
