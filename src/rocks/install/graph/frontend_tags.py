"""Tags that are processed at the frontend: `eval`, `include`, `sinclude`, `copy`, `var`, and `include` of `file`.

The result is the same file without these tags. Every other tag is annotated with its roll, file and line, so that a
message about it names its source, also after the document went through other commands. A tag that does not apply to
the host is copied as it is.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Protocol

from lxml import etree

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, StateError
from rocks.install.graph.document import (
    ANNOTATIONS,
    REMARKS,
    SELECTING,
    applies_to,
    attribute,
    check_known_attributes,
    parse_document,
    tag_of,
    unfit_character,
    where,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.install.graph.records import HostContext

PROCESSED = frozenset(("eval", "include", "sinclude", "copy", "var"))
_INCLUDING = SELECTING | {"file", "mode"}
_EVALUATING = SELECTING | {"shell", "mode"}
_COPYING = SELECTING | {"src", "dst", "perms", "owner"}
_DEEPEST = 16
_MAX_INSERTED_BYTES, _BYTES_OF_A_TEXT = 16 << 20, 4 << 10
"""Of all texts that are inserted into a node; included ones count as more: few files can name each other endlessly."""

_COPY_MARK = "ROCKS-COPY"
VARIABLE_ATTRIBUTES = frozenset(("name", "val", "ref"))


class Frontend(Protocol):
    """What the tags ask of the machine that generates the document. The methods raise RocksError."""

    def evaluate(self, shell: str, text: str, environment: Mapping[str, str]) -> str:
        """The output of a program text, executed by `sh` or `python`."""

    def included(self, name: str) -> str | None:
        """The text of a file of the include folders; None when there is no such file."""

    def copied(self, path: str) -> bytes:
        """The content of a file of this machine."""


@dataclass(frozen=True)
class NodeTree:
    """A node file without processed tags: its name in the graph, its path, its roll, and its root element."""

    name: str
    place: str
    roll: str
    root: etree._Element


def expand(
    root: etree._Element, name: str, place: str, context: HostContext, frontend: Frontend | None
) -> NodeTree:
    """The node file with the processed tags replaced. `frontend` None: the tags that need one are errors.

    StateError, with file and line, for a tag that is invalid or whose program or file fails.
    """
    roll = attribute(root, "roll") or "base"
    expansion = _Expansion(place, roll, context, frontend)
    if not applies_to(root, context, place):
        return NodeTree(name, place, roll, etree.Element(str(root.tag)))
    return NodeTree(name, place, roll, expansion.copy_of(root))


class _Expansion:
    """Copies one file, and stores its variables."""

    def __init__(self, place: str, roll: str, context: HostContext, frontend: Frontend | None) -> None:
        self._place, self._roll, self._context, self._frontend = place, roll, context, frontend
        self._variables = Variables(context.entities, context.unknown or None)
        self._depth = self._inserted_bytes = 0
        self._line: int | None = None
        """The line of the tag whose XML is being inserted."""

    def copy_of(self, element: etree._Element) -> etree._Element:
        found = etree.Element(str(element.tag))
        self._copy_attributes(element, found)
        if applies_to(element, self._context, self._place):
            self._copy_content(element, found)
        else:
            found.text = element.text
            for child in element:
                found.append(self._copy_unread(child))
        return found

    def _copy_unread(self, element: etree._Element) -> etree._Element:
        """A tag inside one that does not apply."""
        found = etree.Element(str(element.tag))
        self._copy_attributes(element, found)
        found.text, found.tail = element.text, element.tail
        for child in element:
            found.append(self._copy_unread(child))
        return found

    def _copy_attributes(self, element: etree._Element, found: etree._Element) -> None:
        for name, value in element.items():
            found.set(name, value)
        if element.tag in PROCESSED:
            return
        given = {name: element.get(name) for name in ANNOTATIONS}
        found.set("roll", given["roll"] or self._roll)
        found.set("file", given["file"] or self._place)
        found.set("line", given["line"] or str(self._line or _line_of(element)))

    def _copy_content(self, element: etree._Element, found: etree._Element) -> None:
        """Add the content of a tag to what is found so far, without remarks and processed tags."""
        _add_text(found, element.text)
        for child in element:
            if child.tag in REMARKS:
                pass
            elif child.tag not in PROCESSED:
                found.append(self.copy_of(child))
            elif applies_to(child, self._context, self._place):
                self._process(child, found)
            _add_text(found, child.tail)
        if element.tag == "file" and element.get("include"):
            if (found.text or "").strip() or len(found):
                raise StateError(f"{where(element, self._place)}: <file> has a text and include; use one")
            name = attribute(element, "include")
            found.text = self._fitting(element, self._included(element, name, is_required=True))
            del found.attrib["include"]

    def _process(self, element: etree._Element, found: etree._Element) -> None:
        match element.tag:
            case "var":
                _add_text(found, self._fitting(element, self._variable(element)))
            case "eval":
                self._insert(element, self._evaluated(element), found)
            case "copy":
                found.append(self._copied(element))
            case _:
                check_known_attributes(element, _INCLUDING, self._place)
                name = attribute(element, "file") or (element.text or "").strip()
                self._insert(element, self._included(element, name, element.tag == "include"), found)

    def _insert(self, element: etree._Element, text: str, found: etree._Element) -> None:
        """Add text, as it is or as XML, in the place of a tag."""
        self._count(element, _BYTES_OF_A_TEXT)
        mode = attribute(element, "mode", "quote")
        if mode not in ("quote", "xml"):
            raise StateError(
                f"{where(element, self._place)}: mode of <{tag_of(element)}> is quote or xml, not {mode!r}"
            )
        if mode == "quote":
            _add_text(found, self._fitting(element, text))
            return
        if self._depth >= _DEEPEST:
            raise StateError(
                f"{where(element, self._place)}: inserted texts insert others, more than {_DEEPEST} deep"
            )
        self._count(element, len(text))
        place = f"{where(element, self._place)}, its text"
        inserted = parse_document(f"<rocks>{text}</rocks>".encode(), place, self._context)
        before, self._line = self._line, self._line or _line_of(element)
        self._depth += 1
        self._copy_content(inserted, found)
        self._depth -= 1
        self._line = before

    def _count(self, element: etree._Element, inserted_bytes: int) -> None:
        self._inserted_bytes += inserted_bytes
        if self._inserted_bytes > _MAX_INSERTED_BYTES:
            raise StateError(
                f"{where(element, self._place)}: the texts that are inserted into this node are too many, or too long"
            )

    def _fitting(self, element: etree._Element, text: str) -> str:
        """The text for a tag. StateError for a character that XML cannot contain, and for too much text."""
        self._count(element, len(text))
        unfit = unfit_character(text)
        if unfit:
            raise StateError(f"{where(element, self._place)}: its text has {unfit}, which XML cannot contain")
        return text

    def _evaluated(self, element: etree._Element) -> str:
        check_known_attributes(element, _EVALUATING, self._place)
        holder = etree.Element("rocks")
        self._copy_content(element, holder)
        if len(holder):
            raise StateError(f"{where(element, self._place)}: <eval> contains a program and no tags")
        shell = attribute(element, "shell", "sh") or "sh"
        if shell not in ("sh", "bash", "python"):
            raise StateError(
                f"{where(element, self._place)}: shell of <eval> is sh, bash or python, not {shell!r}"
            )
        if not self._context.is_evaluated:
            return self._context.unknown
        try:
            return self._needed(element).evaluate(shell, holder.text or "", self._context.attributes)
        except RocksError as error:
            raise StateError(f"{where(element, self._place)}: {error}") from None

    def _included(self, element: etree._Element, name: str, is_required: bool) -> str:
        """The text of an included file; '' for a missing one that is not required, or what is unknown in its place."""
        if not name:
            raise StateError(f"{where(element, self._place)}: <{tag_of(element)}> needs the name of a file")
        try:
            text = self._needed(element).included(name)
        except RocksError as error:
            raise StateError(f"{where(element, self._place)}: {error}") from None
        if text is None and is_required:
            raise StateError(
                f"{where(element, self._place)}: there is no file {name} in the folders include beside the nodes; "
                "its roll must bring it"
            )
        return text or self._context.unknown

    def _copied(self, element: etree._Element) -> etree._Element:
        """A tag `file` whose content is the bytes of a file of this machine."""
        check_known_attributes(element, _COPYING, self._place)
        source = attribute(element, "src")
        try:
            data = self._needed(element).copied(source)
        except RocksError as error:
            raise StateError(f"{where(element, self._place)}: {error}") from None
        found = etree.Element("file", name=attribute(element, "dst") or source)
        for name in ("perms", "owner", *sorted(SELECTING)):
            if element.get(name):
                found.set(name, str(element.get(name)))
        lines = base64.encodebytes(data).decode("ascii")
        found.set("expr", f"base64 -d <<'{_COPY_MARK}'\n{lines}{_COPY_MARK}")
        found.set("roll", self._roll)
        found.set("file", self._place)
        found.set("line", str(self._line or _line_of(element)))
        return found

    def _needed(self, element: etree._Element) -> Frontend:
        if self._frontend is None:
            raise StateError(
                f"the tag <{tag_of(element)}> is not supported here: rocks list node xml processes it"
            )
        return self._frontend

    def _variable(self, element: etree._Element) -> str:
        check_known_attributes(element, SELECTING | VARIABLE_ATTRIBUTES, self._place)
        try:
            return self._variables.read(element)
        except StateError as error:
            raise StateError(f"{where(element, self._place)}: {error}") from None


def _line_of(element: etree._Element) -> int:
    return element.sourceline if isinstance(element.sourceline, int) else 0


def _add_text(found: etree._Element, text: str | None) -> None:
    """Add a text after what the element has so far."""
    if not text:
        return
    if len(found):
        found[-1].tail = (found[-1].tail or "") + text
    else:
        found.text = (found.text or "") + text


class Variables:
    """The variables of one file, in the order in which its tags are read; the host's entities can be referred to.

    `unknown` is the value of all others; None: they are errors.
    """

    def __init__(self, entities: Mapping[str, str], unknown: str | None) -> None:
        self._unknown = unknown
        self._entities = {name.lower(): value for name, value in entities.items()}
        self._values: dict[str, str] = {}

    def read(self, element: etree._Element) -> str:
        """Store the value in a tag and return ''; or return the value that it references. StateError for neither."""
        name = attribute(element, "name")
        if not name:
            raise StateError("<var> needs a name")
        if element.get("val") is not None:
            self._values[name] = str(element.get("val"))
            return ""
        referenced = attribute(element, "ref") or name
        value = self._values.get(referenced, self._entities.get(referenced.lower(), self._unknown))
        if value is None:
            raise StateError(f"<var>: {referenced} is neither a variable nor an attribute of the host")
        if element.get("ref") is None:
            return value
        self._values[name] = value
        return ""
