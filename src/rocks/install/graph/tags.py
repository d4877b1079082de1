"""The node language: a node file as read for one host.

Tags that the frontend processes (`eval`, `include`, `copy`, `var`) are replaced before, in `frontend_tags.py`. An
unknown tag (`ansible` too) is an error: no tag is ignored silently.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.install.graph.document import (
    REMARKS,
    SELECTING,
    applies_to,
    attribute,
    check_known_attributes,
    parse_document,
    tag_of,
    where,
)
from rocks.install.graph.file_tag import FILE_ATTRIBUTES, read_file
from rocks.install.graph.frontend_tags import PROCESSED, expand
from rocks.install.graph.records import Directive, File, Node, Package, Section, When

if TYPE_CHECKING:
    from lxml import etree

    from rocks.install.graph.frontend_tags import Frontend, NodeTree
    from rocks.install.graph.records import HostContext

_ROOT_ATTRIBUTES = SELECTING | {"roll", "interface"}
_SECTION_ATTRIBUTES = SELECTING | {"interpreter", "arg"}
_KNOWN = ("package", "pre", "post", "configure", "boot", "main", "file", *sorted(PROCESSED))
_PHASES = frozenset(("pre", "post", "reconfigure"))
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9@^][A-Za-z0-9 @^+._:-]*", re.ASCII)


def read_node(
    name: str, place: str, data: bytes, context: HostContext, frontend: Frontend | None = None
) -> Node:
    """The node `name` of the file at `place`. StateError, with file and line, for unsupported tags."""
    return node_of(read_tree(name, place, data, context, frontend), context)


def read_tree(
    name: str, place: str, data: bytes, context: HostContext, frontend: Frontend | None
) -> NodeTree:
    """The node file as XML for one host, without the tags that the frontend processes. Errors as `read_node`."""
    root = parse_document(data, place, context)
    if root.tag == "jumpstart":
        raise StateError(f"{place} is for SunOS (<jumpstart>), which this system does not install")
    if root.tag != "kickstart":
        raise StateError(f"{place} is not a node file: its root is <{root.tag}> and not <kickstart>")
    check_known_attributes(root, _ROOT_ATTRIBUTES, place)
    return expand(root, name, place, context, frontend)


def node_of(tree: NodeTree, context: HostContext) -> Node:
    """The node that the XML describes. StateError, with file and line, for unsupported tags."""
    reader = _Reader(tree.name, tree.place, context)
    for element in tree.root:
        reader.read(element)
    return reader.node()


def reconfiguration_of(tree: NodeTree, context: HostContext) -> Node:
    """As `node_of`, but with nothing except the sections of the phase `reconfigure`."""
    reader = _Reader(tree.name, tree.place, context, "reconfigure")
    for element in tree.root:
        if element.tag == "configure":
            reader.read(element)
    return reader.node()


class _Reader:
    """Reads the tags of one file; with a phase, sections are read only if they are of that phase."""

    def __init__(self, name: str, place: str, context: HostContext, phase: str = "") -> None:
        self._name, self._place, self._context, self._phase = name, place, context, phase
        self._packages: list[Package] = []
        self._sections: list[Section] = []
        self._directives: list[Directive] = []

    def node(self) -> Node:
        return Node(
            self._name, self._place, tuple(self._packages), tuple(self._sections), tuple(self._directives)
        )

    def read(self, element: etree._Element) -> None:
        if element.tag in REMARKS:
            return
        if element.tag not in _KNOWN:
            raise self._unsupported(element, _KNOWN)
        if not applies_to(element, self._context, self._place):
            return
        match element.tag:
            case "package":
                self._packages.append(self._package(element))
            case "main":
                self._directives += [
                    Directive(str(child.tag), self._text(child).strip(), where(child, self._place))
                    for child in element
                    if applies_to(child, self._context, self._place)
                ]
            case "file":
                place = where(element, self._place)
                self._sections.append(Section(When.POST, (self._file(element),), place=place))
            case _:
                self._section(element)

    def _section(self, element: etree._Element) -> None:
        more = {"configure": {"phase"}, "boot": {"order"}}.get(str(element.tag), set())
        check_known_attributes(element, _SECTION_ATTRIBUTES | more, self._place)
        when = self._when(element)
        if when is None:
            return
        try:
            interpreter = tuple(shlex.split(attribute(element, "interpreter")))
        except ValueError:
            raise StateError(f"{where(element, self._place)}: the interpreter has an open quote") from None
        place = where(element, self._place)
        section = Section(when, self._parts(element), interpreter, attribute(element, "arg"), place)
        if any(isinstance(part, File) or part.strip() for part in section.parts):
            self._sections.append(section)

    def _when(self, element: etree._Element) -> When | None:
        """When the section runs; None when it is for another phase."""
        if element.tag == "boot":
            order = attribute(element, "order", "pre") or "pre"
            if order not in ("pre", "post"):
                raise StateError(
                    f"{where(element, self._place)}: order of <boot> is pre or post, not {order!r}"
                )
            return When.BOOT_PRE if order == "pre" else When.BOOT_POST
        if element.tag == "configure":
            phases = {word.strip() for word in attribute(element, "phase", "post").split(",")}
            if not phases <= _PHASES:
                raise StateError(
                    f"{where(element, self._place)}: a phase of <configure> is pre, post or reconfigure"
                )
            if self._phase:
                return When.POST if self._phase in phases else None
            return When.POST if "post" in phases else When.PRE if "pre" in phases else None
        return When(str(element.tag))

    def _parts(self, element: etree._Element) -> tuple[str | File, ...]:
        parts: list[str | File] = [element.text or ""]
        for child in element:
            if child.tag == "file":
                if applies_to(child, self._context, self._place):
                    parts.append(self._file(child))
            else:
                raise self._unsupported(child, ("file", *sorted(PROCESSED)))
            parts.append(child.tail or "")
        return _joined(parts)

    def _file(self, element: etree._Element) -> File:
        check_known_attributes(element, SELECTING | FILE_ATTRIBUTES, self._place)
        try:
            return replace(read_file(element, self._text(element)), place=where(element, self._place))
        except StateError as error:
            raise StateError(f"{where(element, self._place)}: {error}") from None

    def _text(self, element: etree._Element) -> str:
        for child in element:
            raise self._unsupported(child, tuple(sorted(PROCESSED)))
        return element.text or ""

    def _package(self, element: etree._Element) -> Package:
        check_known_attributes(element, SELECTING | {"type", "disable"}, self._place)
        name = self._text(element).strip()
        if not _PACKAGE_NAME.fullmatch(name):
            raise StateError(f"{where(element, self._place)}: {name!r} is not a package name")
        kind = attribute(element, "type")
        if kind not in ("", "meta"):
            raise StateError(
                f"{where(element, self._place)}: the type of a package is meta or none, not {kind!r}"
            )
        is_excluded = attribute(element, "disable") not in ("", "0")
        return Package(name, kind == "meta", is_excluded, where(element, self._place))

    def _unsupported(self, element: etree._Element, known: tuple[str, ...]) -> StateError:
        return StateError(
            f"{where(element, self._place)}: the tag <{tag_of(element)}> is not supported here; supported tags are "
            f"{', '.join(known)}"
        )


def _joined(parts: list[str | File]) -> tuple[str | File, ...]:
    """Texts that follow each other as one."""
    found: list[str | File] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, str) and isinstance(last, str):
            found[-1] = last + part
        elif part != "":
            found.append(part)
    return tuple(found)
