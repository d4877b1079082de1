"""A file of SQL cut into its statements, as the `mariadb` client cuts it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<comment> --(?=\s)[^\n]* | \#[^\n]* | /\*.*?\*/ )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*` )
    | (?P<delimiter> ^[ \t]*DELIMITER[ \t]+(?P<mark>\S+)[ \t]*$ )
    | (?P<word> \w+ )
    | (?P<other> [^'"`/] | /(?!\*) )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)


def split_statements(text: str) -> list[str]:
    """The statements of a file, without comments, delimiters and outer blanks.

    A line `DELIMITER //` changes what ends a statement, for bodies that hold semicolons; `DELIMITER ;`
    changes it back. BugError when the file ends inside a statement, which means that it was cut short.
    """
    return list(_statements(text))


def _statements(text: str) -> Iterator[str]:
    mark, place = ";", 0
    parts: list[str] = []
    while place < len(text):
        if text.startswith(mark, place):
            yield "".join(parts).strip()
            parts, place = [], place + len(mark)
            continue
        token = _TOKEN.match(text, place)
        if token is None:
            break  # a quotation or comment that does not end
        place = token.end()
        if token["delimiter"] and not "".join(parts).strip():
            mark = token["mark"]
        elif token["comment"]:
            parts.append(" ")
        else:
            parts.append(token.group())
    if rest := ("".join(parts) + text[place:]).strip():
        raise BugError(f"a file of SQL ends within a statement: {rest[:60]!r}; please report this")
