"""Reads the command lines of a `rocks dump` without a shell: quoting is undone, and nothing is expanded or run. Pure.

The quoting is that of a POSIX shell (POSIX.1-2017, Shell Command Language, 2.2): Rocks puts a backslash before
odd characters, or a text between quotes. `shlex` is not used: it does not distinguish a quoted `;` from one with a
meaning, and keeps the backslash of `"\\$"`. What only a shell can do is a fault of its line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "rocks"

_PIECE = re.compile(
    r"(?P<blank>[ \t]+)|(?P<end>\r?\n)|(?P<joined>\\\r?\n)|\\(?P<escaped>.)|'(?P<single>[^']*)'"
    r'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s\\\'"$`;&|<>()*?\[~#]+)|(?P<special>[^\'"\\])',
    re.DOTALL,
)
_IN_QUOTES = re.compile(r'\\(["\\$`])|\\\n')
"""What a backslash quotes between double quotes; before another character it stays."""
_PAIR = re.compile(r"\\.", re.DOTALL)
_WORD = r"(?:[^\s\\'\"$`;&|<>]|\\.)+"
_UNLESS_THERE = re.compile(rf'{_WORD} list host {_WORD} >/dev/null 2>&1 \|\| (?={_WORD} "add host" )')
"""What stands before the line of `rocks dump` that adds the frontend; a host that is there stays in any case."""
_ONLY_AT_THE_START = "~#"
"""Characters that mean something to a shell only where a word begins."""


class DumpLine(NamedTuple):
    """A command of a dump: the number of its first line, its texts, and what only a shell could do with it, or ''."""

    number: int
    texts: tuple[str, ...]
    fault: str = ""


def read_lines(text: str) -> Iterator[DumpLine]:
    """The commands of a dump in order, without blank lines and comments. CR LF ends a line as LF does.

    UserError for a text that ends inside quotes: it is not whole, so nothing of it is to be used.
    """
    if "\r\n" in text and text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")  # in values as well: another program has converted the file
    texts: list[str] = []
    word: list[str] | None = None
    fault, number, place = "", 1, 0
    begun = 1
    while place < len(text):
        if not texts and word is None and (unless := _UNLESS_THERE.match(text, place)):
            place = unless.end()
        piece = _PIECE.match(text, place)
        if piece is None:
            raise UserError(
                f"the quotes that open in line {number} are never closed: the file is damaged or cut off"
            )
        place = piece.end()
        kind = piece.lastgroup
        if kind in ("blank", "end"):
            if word is not None:
                texts.append("".join(word))
            word = None
            if kind == "end":
                if texts or fault:
                    yield DumpLine(begun, tuple(texts), fault)
                texts, fault = [], ""
        elif kind == "special" and word is None and piece[0] == "#":
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
        else:
            if not texts and word is None:
                begun = number
            if kind == "special" and not (word is not None and piece[0] in _ONLY_AT_THE_START):
                fault = fault or _explain(piece[0])
            if expanded := _expanded(piece):
                fault = fault or _explain(expanded)
            if kind != "joined":
                word = [] if word is None else word
                word.append(_unquoted(piece))
        number += piece[0].count("\n")
    if word is not None:
        texts.append("".join(word))
    if texts or fault:
        yield DumpLine(begun, tuple(texts), fault)


def _unquoted(piece: re.Match[str]) -> str:
    if piece["double"] is not None:
        return _IN_QUOTES.sub(lambda found: found[1] or "", piece["double"])
    return next(
        (text for text in (piece["escaped"], piece["single"], piece["plain"]) if text is not None), piece[0]
    )


def _expanded(piece: re.Match[str]) -> str:
    """The character between double quotes that a shell would replace by something else; '' without one."""
    found = re.search("[$`]", _PAIR.sub("", piece["double"] or ""))
    return found[0] if found else ""


def _explain(character: str) -> str:
    printed = character if character.isprintable() else repr(character)
    return f"it needs a shell ({printed} that is not quoted), and none is run"


def command_texts(line: DumpLine) -> tuple[str, ...]:
    """The words after the program: `"add host" compute-0-0` has its first two in one. UserError for another program."""
    if line.fault:
        raise UserError(line.fault)
    program, *texts = line.texts
    first = texts[0].split() if texts else []
    if program.rpartition("/")[2] != PROGRAM or not first:
        raise UserError("it is no command of rocks")
    return (*first, *texts[1:])
