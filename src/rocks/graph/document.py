"""Graph and node files as XML: entities are those that we declare, nothing is fetched, errors name file and line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from lxml import etree

from rocks.errors import StateError
from rocks.graph.records import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.graph.records import HostContext

REMARKS = frozenset(("description", "copyright", "changelog"))
"""Tags for people; they are passed over."""

_DECLARATION = re.compile(r"\A\ufeff?<\?xml\b[^>]*\?>")
_PROLOGUE = re.compile(r"\A(?:\s|<!--.*?-->|<\?.*?\?>)*<!DOCTYPE", re.DOTALL)
_REFERENCE = re.compile(r"&([A-Za-z_][\w.-]*);", re.ASCII)
_UNDECLARED = re.compile(r"Entity '([^']*)' not defined")
_UNPRINTABLE = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_QUOTED = {'"': "&quot;", "'": "&apos;", "\r": "&#13;"}


def parse_document(data: bytes, place: str, context: HostContext) -> etree._Element:
    """The root element of a file at `place`, with the host's entities in it as text.

    StateError, with file and line, for what is no XML, has a DOCTYPE of its own, or names an entity that there is not.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StateError(f"{place} is no text in UTF-8 (byte {error.start + 1})") from None
    text = _DECLARATION.sub(lambda found: "\n" * found[0].count("\n"), text)
    if _PROLOGUE.match(text):
        raise StateError(f"{place} has a DOCTYPE: entities are the host's attributes, and files declare none")
    values = {name.lower(): value for name, value in context.entities.items()}
    names = {name for name in _REFERENCE.findall(text) if _can_be_said(values.get(name.lower()))}
    declarations = "".join(
        f'<!ENTITY {name} "{_entity_text(values[name.lower()])}">' for name in sorted(names)
    )
    parser = etree.XMLParser(
        no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        # the declarations are on the first line, so that lines keep their numbers
        return etree.fromstring(f"<!DOCTYPE rocks [{declarations}]>{text}", parser)
    except etree.XMLSyntaxError as error:
        raise StateError(_explain(error, place, values, context.missing)) from None


def attribute(element: etree._Element, name: str, default: str = "") -> str:
    """A tag's attribute as text, without blanks around it."""
    return str(element.get(name, default)).strip()


def selection_of(element: etree._Element) -> Selection:
    """For which hosts a tag is meant."""
    return Selection(
        _words(attribute(element, "arch")),
        _words(attribute(element, "os")),
        _words(attribute(element, "release")),
        attribute(element, "cond"),
    )


def check_known_attributes(element: etree._Element, known: frozenset[str], place: str) -> None:
    """StateError for an attribute of the tag that means nothing here."""
    for name in map(str, element.keys()):
        if name not in known:
            raise StateError(
                f"{where(element, place)}: <{tag_of(element)}> has no attribute {name}; there are "
                f"{', '.join(sorted(known))}"
            )


def tag_of(element: etree._Element) -> str:
    """The tag's name."""
    return str(element.tag)


def where(element: etree._Element, place: str) -> str:
    """File and line of a tag, for messages."""
    return f"{place}, line {element.sourceline}"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _can_be_said(value: str | None) -> bool:
    return value is not None and not _UNPRINTABLE.search(value)


def _entity_text(value: str) -> str:
    """For a declaration: escaped once for the place where it is named, and once more for the declaration itself."""
    return escape(escape(value, _QUOTED), {"%": "&#37;", '"': "&#34;"}).replace("&amp;", "&#38;")


def _explain(
    error: etree.XMLSyntaxError, place: str, values: Mapping[str, str], missing: Mapping[str, str]
) -> str:
    line, words = error.lineno, str(error.msg)
    found = _UNDECLARED.search(words)
    if found is None:
        return f"{place}, line {line}: this is no XML: {words}"
    name = found[1]
    reasons = {key.lower(): reason for key, reason in missing.items()}
    if name.lower() in values:
        reason = "its value has a character that XML cannot have"
    else:
        reason = reasons.get(
            name.lower(), f"the host has no attribute {name}; rocks set host attr gives it one"
        )
    return f"{place}, line {line}: &{name}; has no value here: {reason}"
