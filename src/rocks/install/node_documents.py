"""Nodes of the graph as XML documents: for a node, an appliance, or hosts."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.version import rocks_version_attributes
from rocks.install.graph.document import HostContext
from rocks.install.graph.node_documents import of_rolls, read_dictionary, read_lines, write_document
from rocks.install.graph.profile import ProfileRequest, create_trees, read_graph
from rocks.install.graph_files import DEFAULT_GRAPH, Library, attribute_file
from rocks.install.host_profiles import host_context, load_sites
from rocks.install.profile_values import DEFAULT_DISTRIBUTION
from rocks.inventory.appliances import load_appliances
from rocks.inventory.attributes.records import global_attributes, read_attributes
from rocks.inventory.records import PRIVATE_NETWORK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.install.graph.document import Graph
    from rocks.install.host_profiles import HostOfSite

GENERATOR = "kgen"
"""The name of an installer's document in order rules with `gen`."""


@dataclass(frozen=True)
class DocumentOptions:
    """How a document is generated.

    `base` is a folder with graphs and nodes instead of the installed ones; `rolls` limits the document to nodes of
    these rolls. `is_complete`: a node without a file is an error. `is_strict`: an entity without a value is an error.
    """

    base: Path | None = None
    rolls: tuple[str, ...] = ()
    generator: str = GENERATOR
    is_complete: bool = True
    is_strict: bool = True
    is_evaluated: bool = True


class UnknownNodeError(UserError):
    """A graph or a node that no installed roll has; Rocks' commands end with the exit status 255."""

    exit_status = 255


def node_document(node: str, attributes: Mapping[str, str], options: DocumentOptions) -> str:
    """The document of a node and all that it includes, without the database.

    Attributes that are not given are those of this machine. UnknownNodeError for an unknown node or graph; StateError
    for an invalid file.
    """
    values = {**_values_of_this_machine(node), **attributes}
    context = HostContext(values, values, {}, not options.is_strict, options.is_evaluated)
    library = Library(options.base)
    graph = graph_of(library, values["graph"])
    known = {name for edge in graph.edges for name in (edge.parent, edge.child)}
    if node not in known and not library.node_files(node):
        raise UnknownNodeError(
            f"error - node {node} in not in graph; its roll brings nodes/{node}.xml; rocks list appliance names roots"
        )
    return _document(
        ProfileRequest("", node, options.generator, context, options.is_complete), library, options
    )


def appliance_document(database: Database, name: str, options: DocumentOptions) -> str:
    """The document of an appliance's root, with the attributes of the site and the appliance."""
    found = load_appliances(database, [name])
    if not found or not found[0].node:
        raise StateError(f"appliance {name} has no root in the graph; see rocks list appliance")
    appliance = found[0]
    values = {
        **global_attributes(database),
        **{attribute: value for _, attribute, value in read_attributes(database, "appliance", [name])},
        "appliance": appliance.name,
        "membership": appliance.membership,
        "os": appliance.os,
        "graph": appliance.graph or DEFAULT_GRAPH,
        "distribution": appliance.distribution,
    }
    database.end_reading()
    return node_document(appliance.node, values, options)


def host_documents(database: Database, names: Sequence[str], options: DocumentOptions) -> list[str]:
    """The document of each host. StateError for a host without a root in the graph or a private address."""
    return [site_document(site, options) for site in load_sites(database, names)]


def site_document(site: HostOfSite, options: DocumentOptions) -> str:
    """The document of a host. Errors as of `host_documents`."""
    host = site.host
    if not any(one.ip and one.subnet == PRIVATE_NETWORK for one in host.interfaces):
        raise StateError(
            f"host {host.name} has no address on the network {PRIVATE_NETWORK}, from which it is installed; "
            f"see rocks list host interface {host.name}"
        )
    context = replace(host_context(site), is_lenient=not options.is_strict, is_evaluated=options.is_evaluated)
    request = ProfileRequest(host.name, site.appliance.node, options.generator, context, options.is_complete)
    return _document(request, Library(options.base), options)


def read_attribute_text(text: str) -> dict[str, str]:
    """The attributes in a parameter `attrs`: a dictionary, or the path of a file with lines of `name:value`.

    A missing file counts as empty. UserError for text of another form.
    """
    if not text.strip():
        return {}
    if text.lstrip().startswith("{"):
        return read_dictionary(text, "attrs")
    found = attribute_file(text)
    return {} if found is None else read_lines(found, text)


def given_attributes(system: str, arch: str, attributes: str) -> dict[str, str]:
    """The attributes that a command's parameters os, arch and attrs give, each '' for its default.

    UserError as of `read_attribute_text`.
    """
    machine = os.uname()
    values = {"os": system or "linux", "arch": arch or machine.machine}
    found = read_attribute_text(attributes)
    given = {name: value for name, value in (("os", system), ("arch", arch)) if value}
    return {**values, **found, **given}


def _document(request: ProfileRequest, library: Library, options: DocumentOptions) -> str:
    graph = graph_of(library, request.context.attributes["graph"])
    trees = create_trees(request, graph, library.node_files, library)
    return write_document(of_rolls(trees, options.rolls), request.context.entities)


def graph_of(library: Library, name: str) -> Graph:
    """The graph of that name. UnknownNodeError when there is none; StateError for an invalid file."""
    if not name or "/" in name or name.startswith("."):
        raise UnknownNodeError(
            f"error - no such graph {name}; a graph is a folder of graphs, such as {DEFAULT_GRAPH}"
        )
    try:
        files = library.graph_files(name)
    except StateError as error:
        raise UnknownNodeError(f"error - {error}") from None
    return read_graph(files)


def _values_of_this_machine(node: str) -> dict[str, str]:
    machine, versions = os.uname(), rocks_version_attributes()
    return {
        **versions,
        "release": versions["rocks_release"],
        "os": "linux",
        "arch": machine.machine,
        "hostname": machine.nodename.partition(".")[0],
        "graph": DEFAULT_GRAPH,
        "distribution": DEFAULT_DISTRIBUTION,
        "membership": "Frontend",
        "root": node,
    }
