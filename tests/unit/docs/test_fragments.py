"""Fragments of the list of changes: a name that sorts, a paragraph for an operator."""

import re

from tests.unit.docs.pages import CHECKOUT

_NAME = re.compile(r"[0-9]+\.(feature|fix|break|docs)\.md")
FRAGMENTS = sorted((CHECKOUT / "docs" / "changes").iterdir())


def is_one_paragraph(text: str) -> bool:
    return bool(text.strip()) and text.endswith(".\n") and "\n\n" not in text


def test_every_fragment_is_one_paragraph_and_its_name_sorts() -> None:
    assert FRAGMENTS
    assert [
        one.name
        for one in FRAGMENTS
        if not (_NAME.fullmatch(one.name) and is_one_paragraph(one.read_text("utf-8")))
    ] == []
