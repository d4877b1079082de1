"""Graph and node files as XML: only our own entities, no network access, errors with file and line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from lxml import etree

from rocks.core.errors import StateError
from rocks.install.graph.conditions import applies
from rocks.install.graph.records import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.install.graph.records import HostContext

SELECTING = frozenset(("arch", "os", "release", "cond"))
"""Attributes that any tag may have."""

REMARKS = frozenset(("description", "copyright", "changelog"))
"""Tags with remarks, which are ignored."""

ANNOTATIONS = ("roll", "file", "line")
"""Attributes that say where a tag came from; `rocks.install.graph.frontend_tags` adds them."""

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
