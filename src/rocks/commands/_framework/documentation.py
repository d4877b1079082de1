"""Reads and formats a command's help: a docstring with the elements arg, param, example and related."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, field
from html import unescape
from typing import TYPE_CHECKING

from rocks.commands._framework.declarations import (
    ELEMENT,
    attributes_of,
    bracketed,
    docstring_of,
    elements,
    taken,
    taken_in_text,
    usage_of,
    with_common,
)
from rocks.core.dataclasses import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.base import Command


DEFAULT_COLUMNS = 80
_TAB_COLUMNS = 8
_NARROWEST = 24
_WIDEST = 112
"""Characters of text in a line; longer lines are hard to read."""


@dataclass(frozen=True)
class Declared:
    """An argument or a parameter of a command, as its docstring declares it."""

    name: str
    type: str
    optional: bool
    repeat: bool
    text: str
    values: tuple[str, ...] = ()
    default: str = ""
    """What counts when it is not given, in words where it is no constant; "" when it is required."""
    unit: str = ""
    """The unit of a size, a time or a count; "none" for other numbers, such as a VLAN id."""

    @property
    def facts(self) -> str:
        """`Type: int. Unit: MB. Default: 2048.`: what holds of every value, in each form of help."""
        return " ".join(
            f"{title}: {text}."
            for title, text in (
                ("Type", self.type),
                ("Unit", "" if self.unit == "none" else self.unit),
                ("Default", self.default),
            )
            if text
        )


@dataclass(frozen=True)
class Documentation:
    """A command's help, parsed from its docstring."""

    raw: str
    description: str
    arguments: list[Declared] = field(default_factory=list)
    parameters: list[Declared] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)
    related: list[str] = field(default_factory=list)

    def usage(self) -> str:
        """`{host} ... [name=type]`: arguments as declared, parameters by name; braces mark what is required."""
        return usage_of(taken_in_text(self.raw, docstring_of))


def read_documentation(command_class: type[Command]) -> Documentation:
    """The documentation of a command, from its class's docstring."""
    raw = with_common(inspect.cleandoc(command_class.__doc__ or ""))
    found = Documentation(raw, _clean(ELEMENT.sub("", raw)))
    for element, attribute_text, text in elements(raw, docstring_of):
        attributes = attributes_of(attribute_text)
        if element == "arg":
            found.arguments.append(_declared(element, attributes, text))
        elif element == "param":
            found.parameters.append(_declared(element, attributes, text))
        elif element == "example":
            found.examples.append((attributes.get("cmd", ""), _clean(text)))
        else:
            found.related.append(_clean(text))
    return found


def help_text(
    command_path: Sequence[str],
    documentation: Documentation,
    must_be_root: bool,
    columns: int = DEFAULT_COLUMNS,
) -> str:
    """The plain help of a command, with the sections of every Rocks command, for a terminal of so many columns."""
    name = " ".join(command_path)
    lines = [f"rocks {name} {documentation.usage()}".rstrip(), "", "Description:", ""]
    lines += _indented(documentation.description, columns)
    for title, declared in (("Arguments", documentation.arguments), ("Parameters", documentation.parameters)):
        if declared:
            lines += ["", f"{title}:", ""]
        for it in declared:
            label = it.name if title == "Arguments" else f"{it.name}={it.type}"
            lines += [f"\t{bracketed(label, it.optional)}", "", *_indented(it.text, columns)]
            lines += [*_indented(it.facts, columns), ""]
    if documentation.examples:
        lines += ["", "Examples:", ""]
    for command_line, text in documentation.examples:
        lines += [f"\t{'#' if must_be_root else '$'} rocks {command_line}", "", *_indented(text, columns), ""]
    if documentation.related:
        lines += ["", "Related Commands:", "", *(f"\trocks {item}" for item in documentation.related)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def help_parsed(command_path: Sequence[str], documentation: Documentation, roll: str) -> str:
    """The parts of the documentation as a JSON object, for programs that read it."""
    import json

    parts = {
        "command": " ".join(command_path),
        "roll": roll,
        "usage": documentation.usage(),
        "description": documentation.description,
        "arguments": [asdict(it) for it in documentation.arguments],
        "parameters": [asdict(it) for it in documentation.parameters],
        "examples": [{"command": line, "text": text} for line, text in documentation.examples],
        "related": documentation.related,
    }
    return json.dumps(parts, indent=4) + "\n"


def help_docbook(command_path: Sequence[str], documentation: Documentation) -> str:
    """The help as a DocBook section."""
    from xml.sax.saxutils import escape

    def entries(title: str, declared: list[Declared]) -> list[str]:
        items = [
            f"<varlistentry><term>{escape(it.name)}</term><listitem><para>{escape(it.text)}</para>"
            f"<para>{escape(it.facts)}</para></listitem></varlistentry>"
            for it in declared
        ]
        return [f"<variablelist><title>{title}</title>", *items, "</variablelist>"] if items else []

    name = " ".join(command_path)
    lines = [
        f'<section id="rocks-{"-".join(command_path)}" xreflabel="{name}">',
        f"<title>{name}</title>",
        f"<cmdsynopsis><command>rocks {name}</command> {escape(documentation.usage())}</cmdsynopsis>",
        f"<para>{escape(documentation.description)}</para>",
        *entries("arguments", documentation.arguments),
        *entries("parameters", documentation.parameters),
    ]
    lines += [
        f"<para><screen>rocks {escape(command_line)}</screen>{escape(text)}</para>"
        for command_line, text in documentation.examples
    ]
    return "\n".join([*lines, "</section>"]) + "\n"


def help_sphinx(command_path: Sequence[str], documentation: Documentation) -> str:
    """The help as a section of reStructuredText."""
    name = " ".join(command_path)
    lines = [name, "-" * len(name), "", f"**rocks {name}** {documentation.usage()}".rstrip(), ""]
    lines += [documentation.description, ""]
    for title, declared in (("Arguments", documentation.arguments), ("Parameters", documentation.parameters)):
        if declared:
            lines += [f"**{title}**", "", *(f"* ``{it.name}`` {it.text} {it.facts}" for it in declared), ""]
    if documentation.examples:
        lines += ["**Examples**", ""]
    for command_line, text in documentation.examples:
        lines += ["::", "", f"    rocks {command_line}", "", text, ""]
    return "\n".join(lines).rstrip() + "\n"


def _declared(element: str, attributes: dict[str, str], text: str) -> Declared:
    it = taken(element, attributes)
    default, unit = _clean(it.default), _clean(it.unit)
    return Declared(it.name, it.type, it.optional, it.repeat, _clean(text), it.values, default, unit)


def _clean(text: str) -> str:
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", unescape(text)))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _indented(text: str, columns: int) -> list[str]:
    import textwrap

    width = min(max(columns - _TAB_COLUMNS, _NARROWEST), _WIDEST)
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [*(f"\t{line}" for line in textwrap.wrap(paragraph, width)), ""]
    return lines[:-1]
