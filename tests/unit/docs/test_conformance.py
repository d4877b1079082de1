"""The page of what the published documents name: its tests are there, states have reasons, words are the documents'."""

import ast
import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.docs.pages import CHECKOUT

PAGE = CHECKOUT / "docs" / "evidence" / "conformance.md"
SEEDS = os.environ.get("SEEDS", "")
"""The folder with the documents as text."""
WITH_TESTS = {"works", "in part", "simulated"}
STATES = {*WITH_TESTS, "not built", "hardware", "context"}
MAX_WORD_COUNT = 12
_UNITS = (
    r"%|[GT]B|Gbps|GbE|hours?|years?|min(?:ute)?s?|SUs|users|attendees|CPUs?|nodes?|core|(?:new )?applicants|"
    r"network interfaces?|(?:additional )?sites|things|Available (?:CPUs|Gb)"
)
_MEASURED = re.compile(rf"\d[\d,.]*[+ -]?(?:{_UNITS})(?!\w)|(?:CPUs|Memory(?: \(GB\))?): ?\d+")
"""Numbers with what they count; references, dates and versions have none."""


class Row(NamedTuple):
    """What a document (its title) names; `evidence` are tests (`PATH::FUNCTION` below tests/) and commands of make."""

    document: str
    place: str
    quote: str
    state: str
    evidence: tuple[str, ...]
    reason: str


@cache
def rows() -> tuple[Row, ...]:
    """Those of all tables of the page. A row with other than five cells raises ValueError."""
    found = []
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        for line in text.partition("|---|---|---|---|---|\n")[2].splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            place, quote, state, evidence, reason = cells
            found.append(
                Row(title, place, quote.strip("`"), state, tuple(re.findall("`([^`]+)`", evidence)), reason)
            )
    return tuple(found)


def normalised(text: str) -> str:
    """Without emphasis and escapes, on one line, each white space one blank; without the list of references."""
    plain = re.sub(r"[*~`\\]", "", text.partition("\n7. REFERENCES")[0])
    return " ".join(plain.split())


@cache
def documents() -> dict[str, str]:
    """Title → text, normalised."""
    texts = [normalised(path.read_text("utf-8")) for path in sorted(Path(SEEDS).glob("*.txt"))]
    titles = {row.document for row in rows()}
    return {title: text for title in titles for text in texts if title in text[:200]}


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def is_there(evidence: str) -> bool:
    """Whether it is a test, or a target of make."""
    if evidence.startswith("make "):
        return (
            re.search(rf"^{evidence[5:]}:", (CHECKOUT / "Makefile").read_text("utf-8"), re.MULTILINE)
            is not None
        )
    name, _, function = evidence.partition("::")
    path = CHECKOUT / "tests" / name
    return path.is_file() and function in functions(path)


def test_each_row_has_a_state_and_a_short_quote() -> None:
    assert len(rows()) > 150
    assert [row for row in rows() if row.state not in STATES or not row.place] == []
    assert [row.quote for row in rows() if not 0 < len(row.quote.split()) <= MAX_WORD_COUNT] == []
    named = [(row.document, row.quote) for row in rows()]
    assert sorted(name for name in {*named} if named.count(name) > 1) == []


def test_each_test_and_command_of_the_page_is_there() -> None:
    assert [
        (row.quote, evidence) for row in rows() for evidence in row.evidence if not is_there(evidence)
    ] == []


def test_what_works_has_a_test_and_what_does_not_its_reason() -> None:
    """So has what is simulated; nothing shows what is not built, needs hardware or is context."""
    for row in rows():
        tests = [evidence for evidence in row.evidence if "::" in evidence]
        assert bool(tests) is (row.state in WITH_TESTS), row
        assert row.reason or row.state == "works", row


@pytest.mark.skipif(not SEEDS, reason="SEEDS does not name the folder with the documents")
def test_the_words_are_those_of_the_documents() -> None:
    assert len(documents()) == len({row.document for row in rows()}), "a document is missing in SEEDS"
    assert [row.quote for row in rows() if normalised(row.quote) not in documents()[row.document]] == []


@pytest.mark.skipif(not SEEDS, reason="SEEDS does not name the folder with the documents")
def test_each_number_of_a_measurement_has_a_row() -> None:
    missing = []
    for title, text in documents().items():
        quoted = bytearray(len(text))
        for quote in (normalised(row.quote) for row in rows() if row.document == title):
            for found in re.finditer(re.escape(quote), text):
                quoted[found.start() : found.end()] = bytes([1]) * len(quote)
        missing += [
            text[max(0, found.start() - 40) : found.end() + 20]
            for found in _MEASURED.finditer(text)
            if not all(quoted[found.start() : found.end()])
        ]
    assert missing == []
