"""The table of error messages quotes messages that the programs really give."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from rocks.actions.message_broker import BROKER_GUIDE
from tests.unit.docs.pages import CHECKOUT

_PLACEHOLDER = re.compile(r"\b(?:[A-Z]|[0-9]+)\b(?:\.[A-Z]\b)?|…|\(…\)|\"|…")
_SHORTEST = 8


def quoted_messages() -> list[str]:
    """The messages in the first column of the table."""
    text = (CHECKOUT / "docs" / "guide" / "messages.md").read_text("utf-8")
    rows = text[text.index("| message (shortened)") :].split("\n\n")[0].splitlines()[2:]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def pieces(message: str) -> list[str]:
    """What of a message is the same whatever it is about."""
    return [piece.strip(" .,:;()") for piece in _PLACEHOLDER.split(message)]


@cache
def texts_of_the_programs() -> str:
    """All text in the sources, values in messages left out."""
    found = []
    for source in (CHECKOUT / "src" / "rocks").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.mark.parametrize("message", quoted_messages())
def test_a_quoted_message_is_in_the_programs(message: str) -> None:
    fixed = [piece for piece in pieces(message) if len(piece) >= _SHORTEST]

    assert fixed, f"{message!r} has no words of its own"
    assert [piece for piece in fixed if piece not in texts_of_the_programs()] == []


def test_the_table_is_read() -> None:
    assert len(quoted_messages()) > 30


def test_a_message_that_nobody_gives_would_be_found() -> None:
    assert "the moon is in the wrong quarter" not in texts_of_the_programs()


def test_the_section_that_an_error_names_explains_the_broker() -> None:
    page, _, number = BROKER_GUIDE.partition(", section ")
    text = (CHECKOUT / page).read_text("utf-8")
    assert re.search(rf"^## {number}\. The message broker, and certificates", text, re.MULTILINE)
    assert "A broker on another host" in text
