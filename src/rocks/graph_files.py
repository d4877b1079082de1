"""Find and read the XML files of the graph and its nodes; `rocks.graph`, which interprets them, does no I/O."""

from __future__ import annotations

from pathlib import Path

from rocks.errors import StateError, UserError
from rocks.graph.records import Source

INSTALLED = Path("/opt/rocks/share/rocks")
"""Where rolls put their folders `nodes` and `graphs`."""

SITE_NODES = Path("/etc/rocks/site-nodes")
"""The site's files: extend-NAME.xml, replace-NAME.xml and further nodes."""

_OURS = Path(__file__).resolve().parents[2]
_FUNCTIONS = Path(__file__).with_name("graph") / "functions.sh"


class Library:
    """The files of a distribution. `base` is its folder, with `nodes`, `graphs` and `site-nodes`.

    The default is the checkout of these programs, the folders of installed rolls, and the site's nodes.
    """

    def __init__(self, base: Path | None = None) -> None:
        """UserError when `base` has no folder `graphs`."""
        if base is not None:
            if not (base / "graphs").is_dir():
                raise UserError(f"{base} is no base folder: it has no folder graphs")
            self._bases = [base]
            self._folders = [
                base / "nodes", base.parent / "nodes", base / "site-nodes", base.parent / "site-nodes"
            ]  # fmt: skip
            return
        self._bases = [folder for folder in (_OURS, INSTALLED) if (folder / "graphs").is_dir()]
        self._folders = [*(folder / "nodes" for folder in self._bases), SITE_NODES]

    def graph_files(self, graph: str) -> list[Source]:
        """All files of a graph, sorted by name within each folder. StateError when there are none."""
        folders = [base / "graphs" / graph for base in self._bases]
        found = [path for folder in folders for path in sorted(folder.glob("*.xml"))]
        if not found:
            looked = ", ".join(str(folder) for folder in folders) or str(INSTALLED / "graphs" / graph)
            raise StateError(
                f"no such graph {graph}: {looked} has no files; a roll brings them, or basedir= names another folder"
            )
        return [_read(path) for path in found]

    def node_files(self, name: str) -> list[Source]:
        """The node's file or its replacement, then its extensions; [] for an unknown node."""
        if "/" in name:
            return []
        originals = self._find(f"replace-{name}.xml") or self._find(f"{name}.xml")
        return (
            [_read(path) for path in (*originals[:1], *self._find(f"extend-{name}.xml"))] if originals else []
        )

    def _find(self, file_name: str) -> list[Path]:
        return [folder / file_name for folder in self._folders if (folder / file_name).is_file()]


def shell_functions() -> str:
    """The shell functions at the beginning of every profile script."""
    return _FUNCTIONS.read_text("utf-8")


def _read(path: Path) -> Source:
    try:
        return Source(str(path), path.read_bytes())
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
