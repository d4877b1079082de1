"""A file of answers: its lines NAME = VALUE, and what is wrong with each of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.names import printable
from rocks.core.near_names import nearest

if TYPE_CHECKING:
    from collections.abc import Collection


MAX_PROBLEMS = 50
"""The file of something else may have thousands of wrong lines; the rest is not read."""


class Problem(NamedTuple):
    """What is wrong with a line (from 1), and the known name that it gives, or ''."""

    line: int
    name: str
    text: str


class AnswerLines(NamedTuple):
    """The answers by name, the line of each (from 1), and the problems in the order of their lines."""

    answers: dict[str, str]
    lines: dict[str, int]
    problems: list[Problem]


def read_answer_lines(text: str, known: Collection[str]) -> AnswerLines:
    """Read the lines; `known` are the names that may stand there.

    Blanks around names and values do not count. A line that begins with # is a comment. Every problem is listed: no
    NAME = VALUE, an unknown name, a name given twice, a value with control characters; at most `MAX_PROBLEMS`.
    """
    read = AnswerLines({}, {}, [])
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.strip(" \t\r")
        if stripped and not stripped.startswith("#"):
            name, equals, value = (part.strip() for part in stripped.partition("="))
            problem = _problem(stripped, known, read)
            if problem:
                given = name if equals else stripped.split()[0]
                read.problems.append(Problem(number, given if given in known else "", problem))
                if len(read.problems) == MAX_PROBLEMS:
                    break
            else:
                read.answers[name] = value
                read.lines[name] = number
    return read


def _problem(line: str, known: Collection[str], read: AnswerLines) -> str:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals:
        return f"{printable(line)} is not NAME = VALUE"
    if name not in known:
        near = nearest(name, known)
        return f"{printable(name) or 'nothing'} is not a question" + (
            f"; did you mean {' or '.join(near)}?" if near else ""
        )
    if name in read.answers:
        return f"{name} is given again, as in line {read.lines[name]}"
    if not value.isprintable():
        return f"{name} has characters that cannot be printed: {printable(value)}"
    return ""
