"""What a roll is: its description, roll-NAME.xml, and its files."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import HostError, UserError
from rocks.core.names import printable
from rocks.core.version import ROLL_NAME
from rocks.install.graph.document import HostContext, Source, attribute, entity_names, parse_document, tag_of
from rocks.install.graph.profile import read_graph
from rocks.install.graph_files import Library, check_node_file
from rocks.install.rolls.signatures import MANIFEST, SIGNATURE, file_sha256

if TYPE_CHECKING:
    from lxml import etree

    from rocks.install.graph.document import Graph
    from rocks.install.graph.tags import Frontend


# What a roll is: the file roll-NAME.xml.


INTERFACE = "4.0"
"""Version of the format of rolls; a roll states the one that it was made for."""

NO_ARCHITECTURE = "noarch"
"""Architecture of a roll whose packages run on every machine."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_+-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_]{0,31}")
_ARCHITECTURE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_REQUIREMENT = re.compile(rf"({_NAME.pattern})(?:>=({_VERSION.pattern}))?")
_NO_ENTITIES = HostContext({}, {}, {})


class RollId(NamedTuple):
    """A roll: its name, version and architecture, which are also its folder NAME/VERSION/ARCH."""

    name: str
    version: str
    arch: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.arch}"


class Requirement(NamedTuple):
    """Another roll that must be enabled, and its lowest version; '' for any."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}>={self.version}" if self.version else self.name


@dataclass(frozen=True)
class RollDescription:
    """The content of roll-NAME.xml. `maximum_mb` 0: any size. `made_at`: seconds since 1970, None when not stated."""

    roll: RollId
    release: str
    requirements: tuple[Requirement, ...] = ()
    maximum_mb: int = 0
    has_sources: bool = False
    made_at: int | None = None

    @property
    def iso_name(self) -> str:
        """File name of the roll's ISO."""
        return f"{self.roll.name}-{self.roll.version}-{self.release}.{self.roll.arch}.disk1.iso"


def read_description(data: bytes, place: str) -> RollDescription:
    """The description in a file at `place`.

    UserError or StateError, with the file, for what is missing, unknown or invalid.
    """
    root = parse_document(data, place, _NO_ENTITIES)
    if root.tag != "roll":
        raise UserError(f"{place} does not describe a roll: its root is <{tag_of(root)}> and not <roll>")
    parts = {tag_of(child): child for child in root}
    unknown = sorted(set(parts) - {"timestamp", "color", "info", "iso", "rpm", "author", "description"})
    if unknown:
        raise UserError(f"{place}: <{printable(unknown[0])}> is not a tag of rolls")
    if "info" not in parts:
        raise UserError(f'{place}: <info version="1.0" release="1" arch="x86_64" os="linux"/> is missing')
    interface = attribute(root, "interface", INTERFACE)
    if interface != INTERFACE:
        raise UserError(
            f'{place}: the roll was made for version "{printable(interface)}" of the format of rolls, and these '
            f"programs read version {INTERFACE}; get the roll for this release"
        )
    info = parts["info"]
    if attribute(info, "os", "linux") != "linux":
        raise UserError(
            f'{place}: the roll is for "{printable(attribute(info, "os"))}", and hosts here are linux'
        )
    roll = checked_roll(attribute(root, "name"), attribute(info, "version"), attribute(info, "arch"), place)
    return RollDescription(
        roll,
        _checked(_VERSION, "release", attribute(info, "release", "0") or "0", place),
        _requirements(parts.get("rpm"), place),
        _maximum_mb(parts.get("iso"), place),
        parts.get("rpm") is not None and attribute(parts["rpm"], "src", "0") not in ("", "0"),
        _moment(parts.get("timestamp"), place),
    )


def checked_roll(name: str, version: str, arch: str, place: str) -> RollId:
    """The roll, if each part is valid; UserError, with the `place` where it stands, otherwise."""
    return RollId(
        _checked(_NAME, "name", name, place),
        _checked(_VERSION, "version", version, place),
        _checked(_ARCHITECTURE, "arch", arch, place),
    )


def _checked(rule: re.Pattern[str], what: str, text: str, place: str) -> str:
    if not rule.fullmatch(text):
        raise UserError(
            f'{place}: the {what} of the roll is "{printable(text)}"; it must match {rule.pattern}, as in '
            f"{ {'name': 'hello-world', 'version': '1.0', 'release': '1', 'arch': 'x86_64'}[what] }"
        )
    return text


def _requirements(element: etree._Element | None, place: str) -> tuple[Requirement, ...]:
    stated = attribute(element, "rolls") if element is not None else ""
    if stated == "0":  # rolls of Rocks have this for none
        return ()
    found = []
    for text in stated.replace(",", " ").split():
        match = _REQUIREMENT.fullmatch(text)
        if match is None:
            raise UserError(
                f'{place}: the needed roll "{printable(text)}" must be written as name or name>=version'
            )
        found.append(Requirement(match[1], match[2] or ""))
    return tuple(found)


def _maximum_mb(element: etree._Element | None, place: str) -> int:
    text = attribute(element, "maxsize", "0") if element is not None else "0"
    if not re.fullmatch(r"[0-9]{1,9}", text or "0"):
        raise UserError(f'{place}: maxsize is the largest ISO in MB, or 0, and not "{printable(text)}"')
    return int(text or "0")


def _moment(element: etree._Element | None, place: str) -> int | None:
    """The time in the tag, which is UTC whatever its attribute tz states: the same ISO everywhere."""
    if element is None or not attribute(element, "date"):
        return None
    text = f"{attribute(element, 'date')} {attribute(element, 'time') or '00:00:00'}"
    try:
        made = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(
            f'{place}: the timestamp "{printable(text)}" must be written as date="2026-01-31" time="12:00:00"'
        ) from None
    return int(made.timestamp())


# The files of a roll: which there may be, and whether commands, nodes and graphs among them can be read.


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
