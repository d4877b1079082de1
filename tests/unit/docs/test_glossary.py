"""Replaced terms occur only where the glossary says why."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.docs.pages import CHECKOUT

_PAGE = CHECKOUT / "docs" / "glossary.md"
_FOLDERS = ("src", "roll", "nodes", "graphs", "packaging", "lab", "bench", "tools", "tests", "docs", "bin")
_ENDINGS = {".py", ".md", ".sql", ".sh", ".xml", ".S", ".c", ""}
_EXCEPT = ("docs/glossary.md", "tests/unit/docs/test_glossary.py", "*__pycache__*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PYTHON = re.compile(
    r"""(?P<text>\#[^\n]*|(?:\b[rbuf]{1,2})?(?:\"{3}(?:\\.|.)*?\"{3}|\'{3}(?:\\.|.)*?\'{3}"""
    r"""|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))|(?P<name>\b[^\W\d]\w*)""",
    re.DOTALL | re.IGNORECASE,
)
"""Comments and strings, and names: the module `tokenize` takes ten times as long."""


class Replaced(NamedTuple):
    """A term, where it is searched ({"names", "text"}), and the files in which it may occur."""

    term: str
    searched: frozenset[str]
    allowed: tuple[str, ...]


class Place(NamedTuple):
    """A name (its parts, in lower case) or a text of a file."""

    file: str
    line: int
    kind: str
    content: str


def replaced_terms() -> list[Replaced]:
    """The rows of the glossary's second table, one for each term."""
    rows = _PAGE.read_text("utf-8").split("## Replaced terms")[1].split("These terms stay")[0].splitlines()
    found = []
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if not row.startswith("| `"):
            continue
        searched = frozenset(cells[1].split(", "))
        allowed = tuple(re.findall(r"`([^`]+)`", cells[3]))
        found += [Replaced(term, searched, allowed) for term in re.findall(r"`([^`]+)`", cells[0])]
    return found


def files() -> Iterator[Path]:
    """Everything that is searched."""
    yield from (CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "NEWS.md"))
    for folder in _FOLDERS:
        for path in sorted((CHECKOUT / folder).rglob("*")):
            name = str(path.relative_to(CHECKOUT))
            if path.is_file() and path.suffix in _ENDINGS and not any(fnmatch(name, one) for one in _EXCEPT):
                yield path


def python_places(file: str, text: str) -> Iterator[Place]:
    """Identifiers as names, comments and strings as text: those that may have a term."""
    for token in _PYTHON.finditer(text):
        if token.lastgroup == "name":
            if may_have("names", parts := name_parts(token[0])):
                yield Place(file, text.count("\n", 0, token.start()) + 1, "names", parts)
        elif may_have("text", token[0]):
            yield from text_places(file, token[0], text.count("\n", 0, token.start()) + 1)


def text_places(file: str, text: str, first: int = 1) -> Iterator[Place]:
    """Lines of text that may have a term."""
    for number, line in enumerate(text.split("\n"), first):
        if may_have("text", line):
            yield Place(file, number, "text", line)


@cache
def any_term(kind: str) -> re.Pattern[str]:
    """What finds each term among names or in text in lower case: hardly any place has one."""
    terms = [term.term.strip("*").strip("_") for term in replaced_terms() if kind in term.searched]
    either = "|".join(map(re.escape, terms))
    return re.compile(rf"(?<![\w-])(?:{either})" if kind == "text" else either)


@cache
def may_have(kind: str, content: str) -> bool:
    """Whether this may have a term."""
    return bool(any_term(kind).search(content.lower()))


@cache
def name_parts(name: str) -> str:
    """The parts of an identifier, in lower case and joined by underscores."""
    return "_".join(part.lower() for part in _PART.findall(name))


def places() -> Iterator[Place]:
    """Every name and every line of text of the project that may have a term."""
    for path in files():
        file = str(path.relative_to(CHECKOUT))
        yield Place(file, 0, "names", name_parts(path.stem))
        text = path.read_text("utf-8", "replace")
        yield from python_places(file, text) if path.suffix == ".py" else text_places(file, text)


def pattern(term: str, kind: str) -> re.Pattern[str]:
    """What finds the term among names or in text."""
    if kind == "text":
        return re.compile(rf"(?<![\w-]){re.escape(term)}(?![\w-])", re.IGNORECASE)
    before = "" if term.startswith("*") else "(?:^|_)"
    after = "" if term.endswith("*") else "(?:$|_)"
    core = re.escape(term.strip("*").strip("_"))
    if term.startswith("*"):
        return re.compile(rf"(?:^|_){core}$")
    if term.endswith("*"):
        return re.compile(rf"^{core}_")
    return re.compile(f"{before}{core}{after}")


def test_replaced_terms_occur_only_where_the_glossary_says_so() -> None:
    searched = [(term, kind, pattern(term.term, kind)) for term in replaced_terms() for kind in term.searched]
    assert [
        f"{term.term}: {place.file}:{place.line}: {place.content.strip()}"
        for place in places()
        for term, kind, found in searched
        if kind == place.kind and found.search(place.content)
        if not any(fnmatch(place.file, allowed) for allowed in term.allowed)
    ] == []


def test_the_table_is_read() -> None:
    assert len(replaced_terms()) > 40


@pytest.mark.parametrize(
    ("term", "kind", "content", "found"),
    [
        ("deed", "names", name_parts("perform_deed"), True),
        ("deed", "text", "indeed", False),
        ("*wanted", "names", name_parts("DiskWanted"), True),
        ("*wanted", "names", name_parts("wanted_disk"), False),
        ("refuse_*", "names", name_parts("_refuse_other"), True),
        ("refuse_*", "names", name_parts("is_refused"), False),
        ("come home", "text", "until changes come home.", True),
    ],
)
def test_how_a_term_is_found(term: str, kind: str, content: str, found: bool) -> None:
    assert bool(pattern(term, kind).search(content)) is found
