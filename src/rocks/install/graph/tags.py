"""The node language: the tags of node files, those that are processed at the frontend among them."""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from lxml import etree

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, StateError
from rocks.core.values import FALSE_VALUES, TRUE_VALUES
from rocks.install.graph.document import (
    ANNOTATIONS,
    REMARKS,
    SELECTING,
    Directive,
    File,
    FileMode,
    Node,
    Package,
    Section,
    When,
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

    from rocks.install.graph.document import HostContext


# The tag `file` of node files.


FILE_ATTRIBUTES = frozenset(("name", "mode", "src", "perms", "owner", "vars", "expr", "rcs", "include"))

_PERMISSIONS = re.compile(r"[0-7]{3,4}")
_OWNER = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]*)(?:[.:]([A-Za-z0-9_][A-Za-z0-9_-]*))?", re.ASCII)
_FIRST_LINE_END = re.compile(r"\A[ \t]*\n")
_LAST_BLANKS = re.compile(r"\n[ \t]*\Z")


def read_file(element: etree._Element, text: str) -> File:
    """The file that a tag describes; `text` is its content. StateError for an invalid tag."""
    path = attribute(element, "name")
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise StateError(f"<file> needs the whole path of a file as its name, not {path!r}")
    try:
        mode = FileMode(attribute(element, "mode", "create"))
    except ValueError:
        raise StateError(f"the mode of {path} is create, append or pipe") from None
    source, command = attribute(element, "src"), attribute(element, "expr")
    content = None if not text.strip() else _content(text)
    if source and mode is not FileMode.PIPE:
        raise StateError(f"{path} has src, which goes with the mode pipe")
    if command and content is not None:
        raise StateError(f"{path} has a text and expr; one of them is its content")
    if mode is FileMode.PIPE and content is None:
        raise StateError(f"{path} has the mode pipe and no program through which it goes")
    return File(
        path,
        mode,
        content,
        source,
        command,
        _permissions(path, attribute(element, "perms")),
        _owner(path, attribute(element, "owner")),
        _choice(element, path, "vars", "literal", "expanded"),
        _keeps_original(element, path),
    )


def _content(text: str) -> str:
    """Without the line on which the tag begins, and the indentation of the one on which it ends."""
    text = _FIRST_LINE_END.sub("", text)
    text = _LAST_BLANKS.sub("\n", text)
    return text if text.endswith("\n") else f"{text}\n"


def _permissions(path: str, text: str) -> str:
    if text and not _PERMISSIONS.fullmatch(text):
        raise StateError(f"the permissions of {path} are octal digits such as 0644, not {text!r}")
    return f"{int(text, 8):o}" if text else ""


def _owner(path: str, text: str) -> str:
    found = _OWNER.fullmatch(text)
    if text and not found:
        raise StateError(f"the owner of {path} is user or user.group, not {text!r}")
    return ":".join(part for part in found.groups() if part) if found else ""


def _choice(element: etree._Element, path: str, name: str, usual: str, other: str) -> bool:
    """Whether an attribute has the value `other`; StateError unless it is `usual` or `other`."""
    word = attribute(element, name, usual) or usual
    if word not in (usual, other):
        raise StateError(f"{name} of {path} is {usual} or {other}, not {word!r}")
    return word == other


def _keeps_original(element: etree._Element, path: str) -> bool:
    """Whether the original file is kept: unless `rcs` is off (as Rocks' own node files write it), false or no."""
    word = attribute(element, "rcs").lower() or "on"
    if word not in TRUE_VALUES | FALSE_VALUES:
        raise StateError(f"rcs of {path} is on or off, not {word!r}")
    return word in TRUE_VALUES


# Tags that are processed at the frontend: `eval`, `include`, `sinclude`, `copy`, `var`, and `include` of `file`.
#
# The result is the same file without these tags. Every other tag is annotated with its roll, file and line, so that a
# message about it names its source, also after the document went through other commands. A tag that does not apply to
# the host is copied as it is.


PROCESSED = frozenset(("eval", "include", "sinclude", "copy", "var"))
_INCLUDING = SELECTING | {"file", "mode"}
_EVALUATING = SELECTING | {"shell", "mode"}
_COPYING = SELECTING | {"src", "dst", "perms", "owner"}
_DEEPEST = 16
_MAX_INSERTED_BYTES, _BYTES_OF_A_TEXT = 16 << 20, 4 << 10
"""The most of all texts inserted into a node. Included ones count as more: files can include each other endlessly."""

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


# The node language: a node file as read for one host.
#
# Tags that the frontend processes (`eval`, `include`, `copy`, `var`) are replaced before. An unknown tag (`ansible`
# too) is an error: no tag is ignored silently.


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
