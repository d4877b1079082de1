"""Graph and node files as XML and as frozen records, and the conditions in them. Pure."""

from __future__ import annotations

import ast
import enum
import operator
import re
import warnings
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape

from lxml import etree

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


# The content of graph and node files as frozen records.


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


# Conditions of edges and tags: a small part of Python's grammar, evaluated here and never by Python.
#
# `and or not`, comparisons, `in` a tuple, names of attributes, numbers and texts. An unset attribute is None. Texts
# that mean yes and no are booleans everywhere, also in quotes.


_LONGEST = 500
# without 1 and 0: a condition compares numbers
_TRUE_VALUES = frozenset(("on", "true", "yes", "y"))
_FALSE_VALUES = frozenset(("off", "false", "no", "n"))
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_SAME: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
_LESS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def applies(selections: Iterable[Selection], context: HostContext) -> bool:
    """Whether all the selections hold for a host. StateError for an invalid condition."""
    return all(_holds(selection, context.attributes) for selection in selections)


def holds(condition: str, attributes: Mapping[str, str]) -> bool:
    """Whether the condition holds; an empty one does. StateError when it is not valid."""
    if not condition.strip():
        return True
    tree = read_condition(condition)
    return bool(_value(tree, {name.lower(): text for name, text in attributes.items()}))


def read_condition(condition: str) -> ast.expr:
    """The syntax tree of the condition. StateError for anything outside the grammar above."""
    if len(condition) > _LONGEST:
        raise StateError(f"the condition {condition[:40]!r}… is longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about backslashes in texts
            tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise StateError(
            f"the condition {condition!r} cannot be read: names, quoted texts, numbers, == != < <= > >=, and, or, not"
        ) from None
    _check(tree, condition)
    return tree


def _holds(selection: Selection, attributes: Mapping[str, str]) -> bool:
    for name in ("arch", "os", "release"):
        allowed = getattr(selection, name)
        if allowed and attributes.get(name, "") not in allowed:
            return False
    return holds(selection.condition, attributes)


def _check(tree: ast.expr, condition: str) -> None:
    """StateError for anything that `_value` does not support."""
    match tree:
        case ast.BoolOp(values=values):
            parts = values
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            parts = [operand]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            parts = []
        case ast.Compare(left=left, ops=ops, comparators=right):
            parts = [left]
            for operation, part in zip(ops, right, strict=True):
                if isinstance(operation, ast.In | ast.NotIn):
                    _check_list(part, condition)
                elif type(operation) in _SAME or type(operation) in _LESS:
                    parts.append(part)
                else:
                    raise _unsupported(operation, condition)
        case ast.Name() | ast.Constant(value=str() | int() | float() | None):
            parts = []
        case _:
            raise _unsupported(tree, condition)
    for part in parts:
        _check(part, condition)


def _check_list(part: ast.expr, condition: str) -> None:
    if not isinstance(part, ast.Tuple | ast.List):
        raise _unsupported(part, condition)
    for element in part.elts:
        _check(element, condition)


def _unsupported(part: ast.AST, condition: str) -> StateError:
    kind = type(part).__name__
    hint = "; an attribute with a dash in its name has no condition" if isinstance(part, ast.BinOp) else ""
    return StateError(f"the condition {condition!r} has an unsupported expression ({kind}){hint}")


def _value(tree: ast.expr, attributes: Mapping[str, str]) -> Any:
    """The value of a checked tree."""
    match tree:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(part, attributes) for part in values)
        case ast.BoolOp(values=values):
            return any(_value(part, attributes) for part in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, attributes)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, attributes)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _compare(left, ops, comparators, attributes)
        case ast.Name(id=name):
            return _meaning(attributes.get(name.lower()))
        case ast.Constant(value=value):
            return _meaning(value) if isinstance(value, str) else value
    raise AssertionError(ast.dump(tree))


def _compare(
    left: ast.expr, operations: list[ast.cmpop], right: list[ast.expr], attributes: Mapping[str, str]
) -> bool:
    value = _value(left, attributes)
    for operation, part in zip(operations, right, strict=True):
        if isinstance(part, ast.Tuple | ast.List):
            is_in = any(value == _value(element, attributes) for element in part.elts)
            if is_in is isinstance(operation, ast.NotIn):
                return False
            continue
        other = _value(part, attributes)
        if not _relate(operation, value, other):
            return False
        value = other
    return True


def _relate(operation: ast.cmpop, left: Any, right: Any) -> bool:
    if type(operation) in _SAME:
        return _SAME[type(operation)](left, right)
    both = (left, right)
    # an unset value, or one of another type, is neither less nor more
    if not (all(isinstance(v, int | float) for v in both) or all(isinstance(v, str) for v in both)):
        return False
    return _LESS[type(operation)](left, right)


def _meaning(text: str | None) -> Any:
    if text is None:
        return None
    value = text.strip().lower()
    if value in _TRUE_VALUES:
        return True
    if value in _FALSE_VALUES:
        return False
    if _NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    return text


# Graph and node files as XML: only our own entities, no network access, errors with file and line.


SELECTING = frozenset(("arch", "os", "release", "cond"))
"""Attributes that any tag may have."""

REMARKS = frozenset(("description", "copyright", "changelog"))
"""Tags with remarks, which are ignored."""

ANNOTATIONS = ("roll", "file", "line")
"""Attributes that say where a tag came from; `rocks.install.graph.tags` adds them."""

_DECLARATION = re.compile(r"\A\ufeff?<\?xml\b[^>]*\?>")
# Without backtracking: what begins like a thousand comments would take as many times the file's length.
_PROLOGUE = re.compile(r"\A(?>\s+|<!--.*?-->|<\?.*?\?>)*+<!DOCTYPE", re.DOTALL)
_REFERENCE = re.compile(rb"&([A-Za-z_][\w.-]*);")
_PREDEFINED = frozenset(("lt", "gt", "amp", "quot", "apos"))
_UNDECLARED = re.compile(r"Entity '([^']*)' not defined")
_UNFIT = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_QUOTED = {'"': "&quot;", "'": "&apos;", "\r": "&#13;"}


def entity_names(data: bytes) -> frozenset[str]:
    """The entities that a file uses, besides those of XML itself."""
    return frozenset(name.decode("ascii") for name in _REFERENCE.findall(data)) - _PREDEFINED


def parse_document(data: bytes, place: str, context: HostContext) -> etree._Element:
    """The root element of a file at `place`, with the entities of the host replaced by their texts.

    StateError, with file and line, for invalid XML, a DOCTYPE, or an unknown entity.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StateError(f"{place} is not UTF-8 text (byte {error.start + 1})") from None
    text = _DECLARATION.sub(lambda found: "\n" * found[0].count("\n"), text)
    if _PROLOGUE.match(text):
        raise StateError(f"{place} has a DOCTYPE: entities are host attributes; a file cannot declare any")
    values = {name.lower(): value for name, value in context.entities.items()}
    used = entity_names(data)
    if context.is_lenient:
        values = {**dict.fromkeys(map(str.lower, used), context.unknown), **values}
    names = {name for name in used if is_valid_xml(values.get(name.lower()))}
    # they are on the first line, also those of several lines, so that lines keep their numbers
    declarations = "".join(
        f'<!ENTITY {name} "{entity_text(values[name.lower()])}">' for name in sorted(names)
    ).replace("\n", "&#10;")
    parser = etree.XMLParser(
        no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(f"<!DOCTYPE rocks [{declarations}]>{text}", parser)
    except etree.XMLSyntaxError as error:
        raise StateError(_explain(error, place, values, context.missing)) from None


def attribute(element: etree._Element, name: str, default: str = "") -> str:
    """A tag's attribute as text, without blanks around it."""
    return str(element.get(name, default)).strip()


def selection_of(element: etree._Element) -> Selection:
    """The hosts to which a tag applies."""
    return Selection(
        _split_list(attribute(element, "arch")),
        _split_list(attribute(element, "os")),
        _split_list(attribute(element, "release")),
        attribute(element, "cond"),
    )


def applies_to(element: etree._Element, context: HostContext, place: str) -> bool:
    """Whether a tag applies to a host. StateError for an invalid condition."""
    try:
        return applies([selection_of(element)], context)
    except StateError as error:
        raise StateError(f"{where(element, place)}: {error}") from None


def check_known_attributes(element: etree._Element, known: frozenset[str], place: str) -> None:
    """StateError for an unknown attribute of the tag."""
    for name in map(str, element.keys()):
        if name not in known and name not in ANNOTATIONS:
            raise StateError(
                f"{where(element, place)}: <{tag_of(element)}> has no attribute {name}; its attributes are "
                f"{', '.join(sorted(known))}"
            )


def tag_of(element: etree._Element) -> str:
    """The tag's name."""
    return str(element.tag)


def where(element: etree._Element, place: str) -> str:
    """File and line of a tag, for messages: as annotated, else where it was parsed."""
    if element.get("line"):
        return f"{element.get('file') or place}, line {element.get('line')}"
    return f"{place}, line {element.sourceline}"


def _split_list(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def is_valid_xml(value: str | None) -> bool:
    """Whether XML can contain the text."""
    return value is not None and not unfit_character(value)


def unfit_character(text: str) -> str:
    """The first character that XML cannot contain, for messages; '' without one."""
    found = _UNFIT.search(text)
    return repr(found[0]) if found else ""


def entity_text(value: str) -> str:
    """The value for a declaration: escaped once for the place of its use, and once more for the declaration itself."""
    return escape(escape(value, _QUOTED), {"%": "&#37;", '"': "&#34;"}).replace("&amp;", "&#38;")


def _explain(
    error: etree.XMLSyntaxError, place: str, values: Mapping[str, str], missing: Mapping[str, str]
) -> str:
    line, message = error.lineno, str(error.msg)
    found = _UNDECLARED.search(message)
    if found is None:
        return f"{place}, line {line}: invalid XML: {message}"
    name = found[1]
    reasons = {key.lower(): reason for key, reason in missing.items()}
    if name.lower() in values:
        reason = "its value has a character that is not valid in XML"
    else:
        reason = reasons.get(
            name.lower(), f"the host has no attribute {name}; set it with rocks set host attr"
        )
    return f"{place}, line {line}: &{name}; has no value here: {reason}"
