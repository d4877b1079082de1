"""XML elements as lines, as the domain documents have them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml import etree

from rocks.core.errors import UserError

_TAG = re.compile(r"<[^<>]*>")
_VALUE = re.compile(r'="([^"]*)"')


def element(
    tag: str, attributes: Mapping[str, str] | None = None, *children: etree._Element, text: str = ""
) -> etree._Element:
    """The element. UserError for control characters, which XML cannot contain."""
    try:
        made = etree.Element(tag, dict(attributes or {}))
        made.extend(children)
        made.text = text or None
    except ValueError:
        escaped = " ".join([text, *(attributes or {}).values()]).encode("unicode_escape").decode()
        raise UserError(f"the {tag} of a domain cannot contain control characters: {escaped}") from None
    return made


def lines_of(one: etree._Element, indentation: int) -> list[str]:
    """The element as lines, each with one tag or one short element, in single quotes."""
    etree.indent(one, "  ")
    text: str = _TAG.sub(_single_quoted, etree.tostring(one, encoding="unicode"))
    return [" " * indentation + line for line in text.split("\n")]


def _single_quoted(tag: re.Match[str]) -> str:
    # line-oriented scripts of sites expect these quotes; within a tag, lxml escapes every other < > and "
    return _VALUE.sub(lambda value: "='" + value.group(1).replace("'", "&apos;") + "'", tag.group())
