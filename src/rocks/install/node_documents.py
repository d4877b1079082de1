"""Nodes of the graph as XML documents, what installers get of them, and the graph of hosts as a picture."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, ToolError, UserError
from rocks.core.process import run_checked
from rocks.core.version import rocks_version_attributes
from rocks.install.graph.document import HostContext, parse_document
from rocks.install.graph.kickstart import kickstart_file, order_comment
from rocks.install.graph.node_documents import (
    of_rolls,
    read_dictionary,
    read_documents,
    read_lines,
    write_document,
)
from rocks.install.graph.preseed import preseed_file
from rocks.install.graph.profile import Profile, ProfileRequest, create_trees, digraph, read_graph
from rocks.install.graph.shell import shell_script
from rocks.install.graph.tags import node_of, read_node
from rocks.install.graph_files import (
    DEFAULT_GRAPH,
    Library,
    attribute_file,
    check_sections,
    first_boot_files,
    shell_functions,
)
from rocks.install.host_profiles import host_context, load_sites
from rocks.install.profile_values import DEFAULT_DISTRIBUTION
from rocks.inventory.appliances import load_appliances
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.records import global_attributes, read_attributes
from rocks.inventory.records import PRIVATE_NETWORK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.install.graph.document import Graph
    from rocks.install.graph.tags import Frontend
    from rocks.install.host_profiles import HostOfSite


# Nodes of the graph as XML documents: for a node, an appliance, or hosts.


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


# Files for installers, XML profiles of them, and scripts, made of documents of nodes. No database.


INPUT = "the standard input"
"""The place of a document that came from another command, for messages."""


def profile_of_document(text: str) -> str:
    """The XML profile of the host for which the document was generated, with the file for its installer.

    Of a host with Debian's packages that is the section `preseed`, of any other `kickstart`. RocksError for a document
    that is invalid.
    """
    profile, values = _profile(text, {}, None)
    check_sections(profile.nodes)
    packaging = "deb" if values.get("packaging", "") == "deb" else "rpm"
    functions, files = shell_functions(), first_boot_files()
    script = shell_script(profile, functions, packaging, "rocks list host profile")
    if packaging == "deb":
        kind, content = "preseed", preseed_file(profile, script, files)
    else:
        kind, content = "kickstart", kickstart_file(profile, functions, script, files)
    order = "\n".join(order_comment(profile)) + "\n"
    return (
        '<?xml version="1.0" standalone="no"?>\n'
        f'<profile lang="{kind}">\n'
        f'<section name="order">{_cdata(order)}</section>\n'
        f'<section name="{kind}">{_cdata(content)}</section>\n'
        "</profile>\n"
    )


def installer_file(text: str, name: str) -> str:
    """The text of a section of an XML profile: `kickstart`, `preseed` or `order`.

    StateError for invalid XML; UserError for a section that it has not.
    """
    root = parse_document(text.encode(), INPUT, HostContext({}, {}, {}))
    if root.tag != "profile":
        raise StateError(
            f"{INPUT} is not a profile: its root is <{root.tag}>; rocks list host profile prints one"
        )
    found = {str(section.get("name")): section for section in root}
    if name not in found:
        raise UserError(
            f"the profile has no section {name}, only {', '.join(sorted(found))}{_advice(name, list(found))}"
        )
    return found[name].text or ""


def post_script(text: str, attributes: Mapping[str, str]) -> str:
    """The sections after an installation of the nodes in the documents, as one script that can be repeated.

    Programs in the nodes are executed.
    """
    profile, _ = _profile(text, attributes, Library())
    nodes = tuple(replace(node, packages=()) for node in profile.nodes)
    return _script(Profile(profile.host, nodes), "rocks report post")


def file_script(text: str, attributes: Mapping[str, str]) -> str:
    """The text, in which tags `file` are files, as one script that can be repeated."""
    data = f"<kickstart><post>{text}</post></kickstart>".encode()
    node = read_node("input", INPUT, data, HostContext(attributes, attributes, {}), Library())
    host = attributes.get("hostname", "")
    return _script(Profile(host, (replace(node, packages=()),)), "rocks report script")


def _profile(
    text: str, attributes: Mapping[str, str], frontend: Frontend | None
) -> tuple[Profile, Mapping[str, str]]:
    document = read_documents(text, INPUT, attributes, frontend)
    values = document.context.attributes
    nodes = tuple(node_of(tree, document.context) for tree in document.trees)
    return Profile(values.get("hostname", ""), nodes), values


def _script(profile: Profile, origin: str) -> str:
    return shell_script(profile, shell_functions(), KNOWN["packaging"].default, origin)


def _advice(name: str, found: list[str]) -> str:
    """Why a host has a file for the other installer."""
    if name == "kickstart" and "preseed" in found:
        return "; the host has Debian's packages: rocks set host attr HOST packaging rpm"
    if name == "preseed" and "kickstart" in found:
        return "; the host does not have Debian's packages: rocks set host attr HOST packaging deb"
    return ""


def _cdata(text: str) -> str:
    # a parser changes \r outside of references, and the section ends at the first ]]>
    text = text.replace("]]>", "]]]]><![CDATA[>").replace("\r", "]]>&#13;<![CDATA[")
    return f"<![CDATA[{text}]]>"


# The graph of hosts as a picture.


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


def host_graph(database: Database, names: Sequence[str], options: PictureOptions, with_profile: bool) -> str:
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
