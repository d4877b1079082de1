"""Splits a file of SQL into statements, as the `mariadb` client does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.core.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<comment> --(?=\s)[^\n]* | \#[^\n]* | /\*.*?\*/ )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*` )
    | (?P<delimiter> ^[ \t]*DELIMITER[ \t]+(?P<token>\S+)[ \t]*$ )
    | (?P<word> \w+ )
    | (?P<other> [^'"`/] | /(?!\*) )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)


def split_statements(text: str) -> list[str]:
    """The statements of a file, without comments, delimiters and outer blanks.

    A line `DELIMITER //` changes the delimiter of statements, for bodies with semicolons; `DELIMITER ;`
    changes it back. BugError when the file ends inside a statement: it was truncated.
    """
    return list(_statements(text))


def _statements(text: str) -> Iterator[str]:
    delimiter, place = ";", 0
    parts: list[str] = []
    while place < len(text):
        if text.startswith(delimiter, place):
            yield "".join(parts).strip()
            parts, place = [], place + len(delimiter)
            continue
        token = _TOKEN.match(text, place)
        if token is None:
            break  # an unterminated quotation or comment
        place = token.end()
        if token["delimiter"] and not "".join(parts).strip():
            delimiter = token["token"]
        elif token["comment"]:
            parts.append(" ")
        else:
            parts.append(token.group())
    if rest := ("".join(parts) + text[place:]).strip():
        raise BugError(f"a file of SQL ends within a statement: {rest[:60]!r}; please report this")
