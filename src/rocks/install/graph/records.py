"""The content of graph and node files as frozen records."""

from __future__ import annotations

import enum
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD, TAIL = "HEAD", "TAIL"
"""Names in order rules for the positions before and after all other nodes."""


class Source(NamedTuple):
    """A graph or node file: its path, for messages, and its content."""

    place: str
    data: bytes


@dataclass(frozen=True)
class Selection:
    """The hosts to which a rule or tag applies: one value of each given list must match, and the condition hold."""

    arch: tuple[str, ...] = ()
    os: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    condition: str = ""


@dataclass(frozen=True)
class Edge:
    """`parent` includes `child` for hosts of all the selections. `place` is the file, for messages."""

    parent: str
    child: str
    selections: tuple[Selection, ...] = ()
    place: str = ""


@dataclass(frozen=True)
class Order:
    """`head` comes before `tail`, for hosts of all the selections; `generator` limits it to one kind of document."""

    head: str
    tail: str
    generator: str = ""
    selections: tuple[Selection, ...] = ()
    place: str = ""


@dataclass(frozen=True)
class Graph:
    """All graph files of a graph together."""

    edges: tuple[Edge, ...] = ()
    orders: tuple[Order, ...] = ()


@dataclass(frozen=True)
class HostContext:
    """A host as seen by graph and node files: its attributes and entities.

    `missing` says of a name why this host has no such entity. With `is_lenient`, an entity without a value is an
    empty text. Without `is_evaluated`, the tags `eval` are empty texts. `unknown` is a text in the place of these empty
    ones, and of a variable without a value.
    """

    attributes: Mapping[str, str]
    entities: Mapping[str, str]
    missing: Mapping[str, str]
    is_lenient: bool = False
    is_evaluated: bool = True
    unknown: str = ""


@dataclass(frozen=True)
class Package:
    """A package to install on a host, or one to leave out. `place` is file and line, for messages."""

    name: str
    is_group: bool = False
    is_excluded: bool = False
    place: str = field(default="", compare=False)


class FileMode(enum.Enum):
    """How the text of a file is used."""

    CREATE = "create"
    APPEND = "append"
    PIPE = "pipe"


@dataclass(frozen=True)
class File:
    """A file of a section. `text` is None when nothing is written but owner and permissions.

    With PIPE the text is a program through which `source`, or the file itself, goes. `command` gives the content
    instead of a text. `permissions` are octal digits as stat prints them, `owner` is `user` or `user:group`. `place` is
    file and line, for messages.
    """

    path: str
    mode: FileMode = FileMode.CREATE
    text: str | None = None
    source: str = ""
    command: str = ""
    permissions: str = ""
    owner: str = ""
    is_expanded: bool = False
    keeps_original: bool = True
    place: str = field(default="", compare=False)


class When(enum.Enum):
    """When a section runs: before the installation, after it, or at a boot before or after the others."""

    PRE = "pre"
    POST = "post"
    BOOT_PRE = "boot pre"
    BOOT_POST = "boot post"


@dataclass(frozen=True)
class Section:
    """A program text with files in it. `interpreter` is a program and its words, empty for bash.

    `place` is file and line, for messages.
    """

    when: When
    parts: tuple[str | File, ...]
    interpreter: tuple[str, ...] = ()
    argument: str = ""
    place: str = field(default="", compare=False)

    @property
    def is_for_installer(self) -> bool:
        """Whether it runs in the system of the installer and not in the installed one."""
        return "--nochroot" in self.argument.split()


@dataclass(frozen=True)
class Directive:
    """A line for the installer, from a child of `main`: its tag and text. `place` is file and line, for messages."""

    tag: str
    text: str
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Node:
    """A node file as one host sees it."""

    name: str
    place: str
    packages: tuple[Package, ...] = ()
    sections: tuple[Section, ...] = ()
    directives: tuple[Directive, ...] = ()
