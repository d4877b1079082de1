"""Where graph and node files lie, and reading them. The one module here that reads files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rocks.errors import StateError, UserError

INSTALLED = Path("/opt/rocks/share/rocks")
"""Where rolls put their folders `nodes` and `graphs`."""

SITE_NODES = Path("/etc/rocks/site-nodes")
"""The site's own: extend-NAME.xml and replace-NAME.xml, and nodes of its own."""

_OURS = Path(__file__).resolve().parents[3]
_FUNCTIONS = Path(__file__).with_name("functions.sh")


class Source(NamedTuple):
    """A file's place, for messages, and its content."""

    place: str
    data: bytes


class Library:
    """The files of a distribution. `base` is its folder, with `nodes`, `graphs` and `site-nodes`.

    Without one it is the checkout that these programs run from, what rolls have installed, and the site's own nodes.
    """

    def __init__(self, base: Path | None = None) -> None:
        """UserError when `base` is no such folder."""
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
        """All files of a graph, by name within each folder. StateError when there is none."""
        folders = [base / "graphs" / graph for base in self._bases]
        found = [path for folder in folders for path in sorted(folder.glob("*.xml"))]
        if not found:
            looked = ", ".join(str(folder) for folder in folders) or str(INSTALLED / "graphs" / graph)
            raise StateError(
                f"no such graph {graph}: {looked} has no files; a roll brings them, or basedir= names another folder"
            )
        return [_read(path) for path in found]

    def node_files(self, name: str) -> list[Source]:
        """The node's file, or the one that replaces it, then those that extend it; [] when there is none."""
        if "/" in name:
            return []
        originals = self._find(f"replace-{name}.xml") or self._find(f"{name}.xml")
        return (
            [_read(path) for path in (*originals[:1], *self._find(f"extend-{name}.xml"))] if originals else []
        )

    @property
    def node_folders(self) -> str:
        """Where nodes are looked for, in words."""
        return ", ".join(str(folder) for folder in self._folders)

    def _find(self, file_name: str) -> list[Path]:
        return [folder / file_name for folder in self._folders if (folder / file_name).is_file()]


def shell_functions() -> str:
    """What every script of a profile begins with."""
    return _FUNCTIONS.read_text("utf-8")


def _read(path: Path) -> Source:
    try:
        return Source(str(path), path.read_bytes())
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
