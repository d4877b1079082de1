# ruff: noqa: PTH112, PTH113 - of os.path, a name that is too long or not reachable is no file; of pathlib, an error
"""Find and read the XML files of the graph and its nodes; `rocks.install.graph`, which interprets them, does no I/O.

Here are also the effects of tags that are processed on the frontend: programs of `eval`, included and copied files.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.process import run
from rocks.core.trees import roll_folders
from rocks.install.graph.document import Source
from rocks.install.graph.shell import FirstBootFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

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
"""Of an included or copied file, and of the output of a program."""

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
