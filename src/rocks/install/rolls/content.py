"""The files of a roll: which there may be, and whether commands, nodes and graphs among them can be read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, UserError
from rocks.core.names import printable
from rocks.core.version import ROLL_NAME
from rocks.install.graph.document import HostContext, Source, attribute, entity_names, parse_document, tag_of
from rocks.install.graph.profile import read_graph
from rocks.install.graph_files import Library
from rocks.install.node_file_checks import check_node_file
from rocks.install.rolls.checksums import MANIFEST, SIGNATURE, file_sha256
from rocks.install.rolls.description import RollDescription, RollId, read_description

if TYPE_CHECKING:
    from lxml import etree

    from rocks.install.graph.document import Graph
    from rocks.install.graph.tags import Frontend

DEBS, RPMS, SOURCES = "Debian", "RedHat/RPMS", "SRPMS"
"""Folders of packages in a roll."""

COMMANDS, NODES, GRAPHS, INCLUDE = "commands", "nodes", "graphs", "include"

INSTALLER = "installer"
"""Folder of a roll from which hosts are installed."""

ROOT_ARCHIVE, ROOT_CHECKSUM = "root.tar.zst", "root.sha256"
INSTALLER_FILES = ("installer.img", ROOT_CHECKSUM, ROOT_ARCHIVE, "vmlinuz")
"""The files of that folder: all of them, or none."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\.xml")


@dataclass(frozen=True)
class RollContent:
    """What a roll brings: node names, words of commands, its edges, and files of packages."""

    description: RollDescription
    nodes: frozenset[str]
    commands: frozenset[tuple[str, ...]]
    graph: Graph
    packages: tuple[Path, ...]


def read_roll(folder: Path, roll: RollId, place: str, *, is_in_use: bool = False) -> RollContent:
    """The content of a roll's folder. `place` names the roll in messages.

    UserError or StateError, with the file, for a description of another roll, a file where a roll has none, a command
    that is not Python, and a node or graph that is not valid. The content of nodes is not checked of a roll that is in
    use, whose profiles show it, and of the roll of these programs: hosts get our nodes, perhaps of another version.
    """
    path = folder / f"roll-{roll.name}.xml"
    description = read_description(_bytes(path), f"{place}: {path.name}")
    if description.roll != roll:
        raise UserError(
            f"{place}: its folder is that of the roll {roll}, and {path.name} describes {description.roll}"
        )
    files = sorted(
        str(Path(where, name).relative_to(folder)) for where, _, names in os.walk(folder) for name in names
    )
    for name in files:
        if name not in (path.name, MANIFEST, SIGNATURE) and not _belongs(name):
            raise UserError(f"{place}: {printable(name)} is in a place where a roll has no such file")
    nodes = frozenset(Path(name).stem for name in files if name.startswith(f"{NODES}/"))
    library = None if is_in_use or roll.name == ROLL_NAME else _WithoutFrontend(folder, description)
    for node in sorted(nodes):
        check_node(folder / NODES / f"{node}.xml", f"{place}: {NODES}/{node}.xml", library)
    return RollContent(
        description,
        nodes,
        _commands(folder, [Path(name) for name in files if name.startswith(f"{COMMANDS}/")], place),
        read_graph(
            (f"{place}: {name}", _bytes(folder / name))
            for name in files
            if name.startswith(f"{GRAPHS}/default/")
        ),
        tuple(folder / name for name in files if name.endswith((".deb", ".rpm"))),
    )


def check_installer(folder: Path, place: str) -> None:
    """UserError unless the roll's installer, if it has one, has all its files, and the checksum that hosts compare."""
    files = [folder / INSTALLER / name for name in INSTALLER_FILES]
    missing = [path.name for path in files if not path.is_file()]
    if len(missing) == len(files):
        return
    if missing:
        raise UserError(
            f"{place}: the folder {INSTALLER} has no {missing[0]}; make installer builds its files"
        )
    expected = f"{file_sha256(folder / INSTALLER / ROOT_ARCHIVE)}  {ROOT_ARCHIVE}\n"
    if _bytes(folder / INSTALLER / ROOT_CHECKSUM) != expected.encode():
        raise UserError(
            f"{place}: {INSTALLER}/{ROOT_CHECKSUM} is not the checksum of {ROOT_ARCHIVE}; make installer builds both"
        )


class _WithoutFrontend(Library):
    """A roll's files, read on a machine that need not be the frontend which is to have them."""

    def __init__(self, folder: Path, description: RollDescription) -> None:
        super().__init__(folder)
        self._needs_others = any(one.name != ROLL_NAME for one in description.requirements)

    def included(self, name: str) -> str | None:
        """As of `Library`; nothing for what a roll that is needed may bring, which need not be enabled yet."""
        text = super().included(name)
        return "" if text is None and self._needs_others else text

    def copied(self, path: str) -> bytes:
        """Nothing: the file is to be on the frontend."""
        return b""


def check_node(path: Path, place: str, frontend: Frontend | None) -> None:
    """StateError or UserError, with file and line, for a node file that is not valid for any host.

    Without a frontend, for one that is no node file.
    """
    data = _bytes(path)
    if not _NODE.fullmatch(path.name):
        raise UserError(f"{place}: {printable(path.stem)} cannot be the name of a node")
    root = _parse(data, place)
    if root.tag not in ("kickstart", "jumpstart"):
        raise UserError(f"{place} is not a node file: its root is <{tag_of(root)}> and not <kickstart>")
    if frontend is not None and root.tag == "kickstart":
        check_node_file(frontend, path.stem, Source(place, data))


def read_owner(data: bytes, roll: str, place: str) -> str:
    """The roll that the root of a node or graph file states, or ''. UserError for another one than `roll`."""
    stated = attribute(_parse(data, place), "roll")
    if stated not in ("", roll):
        raise UserError(
            f'{place} is of the roll "{printable(stated)}", and this roll is {roll}: remove roll='
        )
    return stated


def _parse(data: bytes, place: str) -> etree._Element:
    """A node or graph file with a text for each entity, whatever a host has. StateError for invalid XML."""
    return parse_document(data, place, HostContext({}, dict.fromkeys(entity_names(data), "x"), {}))


def _belongs(name: str) -> bool:
    """Whether a roll can have this file."""
    top, _, rest = name.partition("/")
    if top == DEBS:
        return rest.endswith(".deb") and "/" not in rest
    if top == INSTALLER:
        return rest in INSTALLER_FILES
    if top == NODES:
        return rest.endswith(".xml") and "/" not in rest
    if top == GRAPHS:
        return rest.endswith(".xml") and rest.count("/") == 1
    if name.startswith((f"{RPMS}/", f"{SOURCES}/")):
        return name.endswith(".rpm") and "/" not in name.removeprefix(f"{RPMS}/").removeprefix(f"{SOURCES}/")
    return top in (COMMANDS, INCLUDE) and bool(rest)


def _commands(folder: Path, files: list[Path], place: str) -> frozenset[tuple[str, ...]]:
    for path in files:
        if path.suffix == ".py":
            check_python(folder / path, f"{place}: {path}")
    return frozenset(
        path.parent.parts[1:] for path in files if path.name == "__init__.py" and len(path.parts) > 2
    )


def check_python(path: Path, place: str) -> None:
    """UserError, with the line, for a file that is not Python of this version."""
    try:
        compile(_bytes(path), str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{place}{line} is not Python: {error.args[0]}") from None
    except (MemoryError, RecursionError):
        raise UserError(f"{place} is not a command: its Python is nested too deeply") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from None
