# ruff: noqa: PTH112, PTH113 - of os.path, a name that is too long or not reachable is no file; of pathlib, an error
"""The files of the graph and its nodes: found, read, and checked."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import RocksError, StateError, UserError
from rocks.core.names import counted
from rocks.core.near_names import did_you_mean
from rocks.core.process import run
from rocks.core.trees import roll_folders
from rocks.install.graph.document import (
    HEAD,
    TAIL,
    File,
    FileMode,
    Graph,
    HostContext,
    Source,
    When,
    entity_names,
)
from rocks.install.graph.profile import check_orders, reached_nodes, read_graph
from rocks.install.graph.shell import FirstBootFiles, is_for_bash, section_text
from rocks.install.graph.tags import read_node
from rocks.inventory.appliances import Appliance, load_appliances
from rocks.inventory.attributes.records import resolve_members
from rocks.inventory.attributes.rules import Member
from rocks.inventory.host_records import names_like

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from rocks.database.connection import Database
    from rocks.install.graph.document import Edge, Node, Order
    from rocks.install.graph.tags import Frontend


# Find and read the XML files of the graph and its nodes; `rocks.install.graph`, which interprets them, does no I/O.
#
# Here are also the effects of tags that are processed on the frontend: programs of `eval`, included and copied files.


INSTALLED = Path("/opt/rocks/share/rocks")
"""Where rolls put their folders `nodes` and `graphs`."""

SITE_NODES = Path("/etc/rocks/site-nodes")
"""The site's files: extend-NAME.xml, replace-NAME.xml and further nodes."""

SITE_GRAPHS = Path("/etc/rocks/site-graphs")
"""The site's edges and orders: one folder for each graph that they are added to."""

DEFAULT_GRAPH = "default"
"""The graph of appliances that name none."""

CHANGING = ("extend-", "replace-")
"""How names of node files begin that change a node of another file."""

_OURS = Path(__file__).resolve().parents[3]
_FUNCTIONS = Path(__file__).with_name("graph") / "functions.sh"


_SHELLS = {
    "sh": ["/bin/sh"],
    "bash": ["/bin/bash"],
    "python": [sys.executable or "/usr/bin/python3", "-I", "-"],
}
_EVAL_SECONDS = 60
_LONGEST_BYTES = 4 << 20
"""The most of an included or copied file, and of the output of a program."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


_HARMFUL = re.compile(r"LD_|BASH|PYTHON|GLIBC_|(?:PATH|ENV|IFS|PS4|SHELLOPTS|GCONV_PATH|LOCPATH)\Z")


class Library:
    """The files of a distribution. `base` is its folder, with `nodes`, `graphs`, `site-nodes` and `site-graphs`.

    The default is the checkout of these programs, the folders of installed and of enabled rolls, and the site's own. If
    `base` is the folder of one roll, with its description, its files are added to those, as more of the site's own; of
    an enabled version of that roll, there are none then.
    """

    def __init__(self, base: Path | None = None) -> None:
        """UserError when `base` has neither a folder `graphs` nor the description of a roll."""
        roll = sorted(base.glob("roll-*.xml"))[:1] if base is not None else []
        if base is not None and not roll:
            if not os.path.isdir(base / "graphs"):
                raise UserError(f"{base} is no base folder: it has no folder graphs")
            self._graphs = [base / "graphs"]
            self._site_graphs = [base / "site-graphs", base.parent / "site-graphs"]
            self._nodes = [base / "nodes", base.parent / "nodes"]
            self._site_nodes = [base / "site-nodes", base.parent / "site-nodes"]
            self._includes = [folder / "include" for folder in (base, base.parent, *self._site_nodes)]
            return
        name, more = (roll[0].stem.removeprefix("roll-"), [roll[0].parent.absolute()]) if roll else ("", [])
        enabled = [folder for folder in map(Path, roll_folders()) if folder.parts[-3:-2] != (name,)]
        bases = [*own_folders(), *(folder for folder in enabled if folder not in more)]
        self._graphs = [folder / "graphs" for folder in bases]
        self._site_graphs = [SITE_GRAPHS, *(folder / "graphs" for folder in more)]
        self._nodes = [folder / "nodes" for folder in bases]
        self._site_nodes = [SITE_NODES, *(folder / "nodes" for folder in more)]
        self._includes = [folder / "include" for folder in (*more, *bases, SITE_NODES)]

    def graph_files(self, graph: str) -> list[Source]:
        """All files of a graph, sorted by name within each folder, the site's last. StateError when there are none."""
        folders = [folder / graph for folder in (*self._graphs, *self._site_graphs)]
        found = [path for folder in folders for path in _xml_files(folder)]
        if not found:
            looked = ", ".join(str(folder) for folder in folders) or str(INSTALLED / "graphs" / graph)
            raise StateError(
                f"no such graph {graph}: {looked} has no files; a roll brings them, or basedir= names another folder"
            )
        return [read_source(path) for path in found]

    def node_files(self, name: str) -> list[Source]:
        """The node's file or its replacement, then its extensions; [] for an unknown node.

        StateError for a file of the site that would not be used, because its node is there already.
        """
        if "/" in name:
            return []
        plain = self._find(f"{name}.xml")
        for unused in plain[1:]:
            if unused.parent in self._site_nodes:
                raise StateError(
                    f"{unused} is not used, since {plain[0]} is the node {name}: rename it to extend-{name}.xml or "
                    f"replace-{name}.xml, or give the site's node another name"
                )
        originals = self._find(f"replace-{name}.xml") or plain
        return (
            [read_source(path) for path in (*originals[:1], *self._find(f"extend-{name}.xml"))]
            if originals
            else []
        )

    def evaluate(self, shell: str, text: str, environment: Mapping[str, str]) -> str:
        """The output of a program text; the host's attributes are in its environment.

        StateError when it fails, takes longer than a minute, or prints more than 4 MiB or no UTF-8 text. ToolError
        when the shell is missing.
        """
        variables = {name: value for name, value in environment.items() if _is_variable(name, value)}
        variables |= {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        ended = run(
            _SHELLS[shell],
            deadline_seconds=_EVAL_SECONDS,
            standard_input=text.encode(),
            environment=variables,
            watch=_check_length,
        )
        if ended.exit_status:
            reason = ended.error_text.splitlines()[-1:] or ["it printed no message"]
            raise StateError(f"the program of <eval> ended with exit status {ended.exit_status}: {reason[0]}")
        return _text(ended.output, "the output of <eval>")

    def included(self, name: str) -> str | None:
        """The text of a file of the include folders; None when there is none. StateError for an unusable file."""
        if name.startswith("/") or ".." in name.split("/"):
            raise StateError(f"the name {name!r} leaves the include folder: it is relative and without ..")
        for folder in self._includes:
            path = folder / name
            if not os.path.isfile(path):
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                raise StateError(
                    f"{path} is a link that leaves the include folder; put the file there instead"
                )
            return _text(_bounded(path), str(path))
        return None

    def copied(self, path: str) -> bytes:
        """The content of a file. StateError for a relative path, a file that is missing, unreadable or too long."""
        if not path.startswith("/"):
            raise StateError(f"<copy> needs src, the whole path of a file on the frontend, not {path!r}")
        if not os.path.isfile(path):
            raise StateError(
                f"<copy> cannot read {path}: there is no such file on the frontend that this user can reach"
            )
        return _bounded(Path(path))

    def node_names(self) -> dict[str, Path]:
        """Every node that has a file, with the first of its files; replacements and extensions are left out."""
        found: dict[str, Path] = {}
        for path in (path for folder in (*self._nodes, *self._site_nodes) for path in _xml_files(folder)):
            if not path.name.startswith(CHANGING):
                found.setdefault(path.stem, path)
        return found

    def site_nodes(self) -> list[Path]:
        """The site's node files: nodes of its own, extensions and replacements."""
        return [path for folder in self._site_nodes for path in _xml_files(folder)]

    def misplaced_site_files(self) -> dict[Path, str]:
        """Files of the site that have a name or place in which nothing reads them, each with the reason."""
        graphs = [path for folder in self._site_graphs for path in sorted(folder.glob("*.xml"))]
        found = {
            path: f"a graph file belongs in a folder: {path.parent}/default/{path.name}" for path in graphs
        }
        for folder in (*self._site_nodes, *(path for top in self._site_graphs for path in top.glob("*"))):
            for path in sorted(folder.glob("*")) if os.path.isdir(folder) else ():
                if path.name.startswith(CHANGING) and path.suffix != ".xml" and not path.name.endswith("~"):
                    found[path] = "its name does not end in .xml"
                elif path.suffix == ".xml" and not os.path.isfile(path):
                    found[path] = "it is no file, and no link to one"
        return found

    def site_graphs(self) -> dict[str, list[Path]]:
        """The site's graph files, by the name of the graph that they are added to."""
        found: dict[str, list[Path]] = {}
        for graph in (
            path for folder in self._site_graphs for path in sorted(folder.glob("*")) if path.is_dir()
        ):
            found.setdefault(graph.name, []).extend(_xml_files(graph))
        return found

    def _find(self, file_name: str) -> list[Path]:
        folders = (*self._nodes, *self._site_nodes)
        return [folder / file_name for folder in folders if os.path.isfile(folder / file_name)]


def _xml_files(folder: Path) -> list[Path]:
    """The XML files of a folder, by name; [] when there is none."""
    found = sorted(folder.glob("*.xml")) if os.path.isdir(folder) else []
    return [path for path in found if os.path.isfile(path)]


def own_folders() -> list[Path]:
    """The folders with `nodes` and `graphs` of these programs and of rolls installed as packages."""
    return [folder for folder in (_OURS, INSTALLED) if os.path.isdir(folder / "graphs")]


def shell_functions() -> str:
    """The shell functions at the beginning of every profile script."""
    return _FUNCTIONS.read_text("utf-8")


def first_boot_files() -> FirstBootFiles:
    """What an installed host runs its profile with at its first boot."""
    folder = _FUNCTIONS.parent
    return FirstBootFiles(
        (folder / "first-boot").read_text("utf-8"), (folder / "rocks-first-boot.service").read_text("utf-8")
    )


def attribute_file(path: str) -> str | None:
    """The text of a file of attributes; None when there is none. StateError for an unreadable one."""
    return _text(_bounded(Path(path)), path) if os.path.isfile(path) else None


def read_source(path: Path) -> Source:
    """A graph or node file. StateError for one that cannot be read."""
    try:
        return Source(str(path), path.read_bytes())
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None


def _is_variable(name: str, value: str) -> bool:
    """Whether an attribute can be in a program's environment: none that chooses its code or its search path."""
    return bool(_VARIABLE.fullmatch(name)) and not _HARMFUL.match(name) and "\0" not in value


def _check_length(data: bytes, title: str = "the output of <eval>") -> None:
    """StateError for a text that is too long: of a program, while it still runs."""
    if len(data) > _LONGEST_BYTES:
        raise StateError(f"{title} has more than {_LONGEST_BYTES >> 20} MiB, too much for a profile")


def _bounded(path: Path) -> bytes:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
    if size > _LONGEST_BYTES:
        raise StateError(
            f"{path} has more than {_LONGEST_BYTES >> 20} MiB, too much for a profile: put it into a package"
        )
    return read_source(path).data


def _text(data: bytes, title: str) -> str:
    _check_length(data, title)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StateError(f"{title} is not UTF-8 text (byte {error.start + 1})") from None


# Whether node files can be read, and their sections by bash; nothing in them is executed.


_ATTRIBUTES = {"os": "linux", "arch": "x86_64", "packaging": "deb"}
"""The attributes of most hosts; parts with conditions on others are read with the profile of a host that has them."""

_UNKNOWN = "unknown_value"
"""In the place of what hosts have; an error that quotes it is no error of the file."""

_BASH_SECONDS = 20
_BASH_PLACE = re.compile(r"^\S*bash: (?=line )", re.MULTILINE)


def check_node_file(frontend: Frontend, name: str, source: Source) -> None:
    """StateError, with file and line, for invalid XML, an unknown tag, a file to include that is not there, or a
    section that bash cannot read, whatever attributes a host has. No `eval` is executed.
    """
    errors: list[StateError] = []
    # a word, a path; what bash cannot read with a word, it may without
    for value in (_UNKNOWN, f"/{_UNKNOWN}", ""):
        context = HostContext(
            _ATTRIBUTES, _ATTRIBUTES, {}, is_lenient=True, is_evaluated=False, unknown=value
        )
        try:
            check_sections([read_node(name, source.place, source.data, context, frontend)])
            return
        except StateError as error:
            errors.append(error)
    for fault in errors[:2]:
        if _UNKNOWN not in str(fault):
            raise fault


def created_files(frontend: Frontend, name: str, source: Source, attributes: Mapping[str, str]) -> list[File]:
    """The files that a node file creates, with a content, on hosts with these attributes. Errors as of reading it.

    Any other entity is its own name, so that the paths of different files differ.
    """
    values = {**_ATTRIBUTES, **attributes}
    entities = {**{entity: entity for entity in entity_names(source.data)}, **values}
    context = HostContext(values, entities, {}, is_lenient=True, is_evaluated=False, unknown=_UNKNOWN)
    sections = read_node(name, source.place, source.data, context, frontend).sections
    files = (it for one in sections if one.when is not When.PRE for it in one.parts if isinstance(it, File))
    return [file for file in files if file.mode is FileMode.CREATE and (file.text or file.command)]


def check_sections(nodes: Iterable[Node]) -> None:
    """StateError, with file and line, for a section that bash cannot read."""
    for section in (section for node in nodes for section in node.sections if is_for_bash(section)):
        if fault := _fault(section_text(section)):
            raise StateError(f"{section.place}: bash cannot read this section: {fault}")


@lru_cache(maxsize=256)  # many hosts have the same sections
def _fault(text: str) -> str:
    """Why bash cannot read the text; '' when it can."""
    check = partial(run, deadline_seconds=_BASH_SECONDS, standard_input=text.encode())
    read = check(["bash", "-n"])
    # a section may switch extglob on for its next lines, which here it does not
    if not read.exit_status or not check(["bash", "-O", "extglob", "-n"]).exit_status:
        return ""
    return (_BASH_PLACE.sub("", read.error_text).strip().splitlines() or ["no message"])[0]


# The site's own node and graph files: those with an error, and those that nothing uses.
#
# A site has nodes and edges of its own in /etc/rocks, read after all others. A file with the name of a node that exists
# is an error and does not hide ours: an upgrade could add a node of that name. The check asks no host and runs no
# `eval`, so that it is quick enough between two edits; that is why it is not only a part of `check site`.


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
