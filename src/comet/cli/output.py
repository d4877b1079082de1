"""Rows as a table, JSON, YAML or CSV. Names come from other people: nothing of them acts on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

WIDEST_CELL = 40
_LONGEST_WORD = 200

Rows = Sequence[Mapping[str, Any]]


class Column(NamedTuple):
    """A column of a table: the key of its cells, and its heading."""

    key: str
    heading: str


def columns(*keys: str, **headings: str) -> tuple[Column, ...]:
    """Columns of keys; a heading is the key itself unless it is given."""
    return tuple(Column(key, headings.get(key, key)) for key in keys)


def safe(text: str) -> str:
    """Text without what a terminal would obey: control characters, and those that reverse the direction of writing."""
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else f"\\x{ord(it):02x}" for it in text)


def shortened(line: str) -> str:
    """As `safe`, without the rest of a name that somebody typed, if that is no name but a page.

    A word with a slash is an address or a path, which is copied: it stays whole.
    """
    parts = safe(line).split(" ")
    return " ".join(it if len(it) <= _LONGEST_WORD or "/" in it else f"{it[:_LONGEST_WORD]}…" for it in parts)


def show_text(text: str) -> None:
    """Print what another program printed, without what a terminal obeys."""
    sys.stdout.write("\n".join("\t".join(safe(it) for it in line.split("\t")) for line in text.split("\n")))
    sys.stdout.flush()


def tabbed(*parts: str) -> str:
    """A line of parts that are safe each, with tabs between them."""
    return "\t".join(safe(it) for it in parts)


def cell(value: Any) -> str:
    """A value as a cell: nothing is empty, a list has a line for each entry."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return "\n".join(safe(str(it)) for it in value)
    return safe(str(value))


def table(rows: Rows, chosen: Sequence[Column]) -> str:
    """A bordered table, left-aligned, with cells wrapped at 40 characters."""
    lines = [[_wrapped(safe(it.heading)) for it in chosen]]
    lines += [[_wrapped(cell(row.get(it.key))) for it in chosen] for row in rows]
    widths = [max(_width(part) for line in lines for part in line[index]) for index in range(len(chosen))]
    border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    printed = [border]
    for number, line in enumerate(lines):
        for height in range(max(len(part) for part in line)):
            parts = [part[height] if height < len(part) else "" for part in line]
            padded = [part + " " * (width - _width(part)) for part, width in zip(parts, widths)]
            printed.append("| " + " | ".join(padded) + " |")
        if number in (0, len(lines) - 1):
            printed.append(border)
    return "\n".join(printed)


def as_yaml(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows in block style; a key or value that is not a plain word is JSON, which YAML reads alike."""
    lines = [
        f"{'  ' if index else '- '}{_yaml_text(key)}: {_yaml_text(value)}"
        for it in rows
        for index, (key, value) in enumerate(it.items())
    ]
    return "\n".join(lines) or "[]"


def as_csv(rows: Rows, keys: Sequence[str]) -> str:
    """RFC 4180 with a header; several values of a cell are joined by semicolons."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(keys)
    for row in rows:
        writer.writerow([cell(row.get(key)).replace("\n", ";") for key in keys])
    return text.getvalue().removesuffix("\r\n")


def printed(rows: Rows, chosen: Sequence[Column], form: str, legacy: bool = False) -> str:
    """Rows in a format: tables have the chosen columns, the others every key."""
    if form == "table":
        return table(rows, chosen)
    if form == "csv":
        return as_csv(rows, list(rows[0]) if rows else [it.key for it in chosen])
    data = [
        {
            key: ";".join(map(str, it)) if key == "mac" and isinstance(it, list) else it
            for key, it in row.items()
        }
        for row in rows
    ]
    if form == "yaml":
        return as_yaml(data)
    return json.dumps({str(number): row for number, row in enumerate(data)} if legacy else data, indent=2)


def show(text: str) -> None:
    """Data to standard output."""
    sys.stdout.write(text + "\n")


def _wrapped(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n"):
        rest = line
        while _width(rest) > WIDEST_CELL:
            cut = next(index for index in range(len(rest), 0, -1) if _width(rest[:index]) <= WIDEST_CELL)
            blank = rest.rfind(" ", 1, cut + 1)
            cut = blank if blank > 0 else cut
            lines.append(rest[:cut])
            rest = rest[cut:].lstrip(" ")
        lines.append(rest)
    return lines


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(it) else 2 if unicodedata.east_asian_width(it) in "WF" else 1
        for it in text
    )


def _yaml_text(value: Any) -> str:
    plain = isinstance(value, str) and value.isidentifier() and value.isascii()
    return str(value) if plain and value.lower() not in _YAML_NAMES else json.dumps(value)


_YAML_NAMES = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
