"""Fragments of the list of changes: a name that sorts, a paragraph for an operator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import CHECKOUT

_NAME = re.compile(r"[0-9]+\.(feature|fix|break|docs)\.md")
FRAGMENTS = sorted((CHECKOUT / "docs" / "changes").iterdir())


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda fragment: fragment.name)
def test_a_fragment_is_one_paragraph(fragment: Path) -> None:
    text = fragment.read_text("utf-8")

    assert _NAME.fullmatch(fragment.name)
    assert text.strip() and text.endswith(".\n")
    assert "\n\n" not in text


def test_there_are_fragments() -> None:
    assert FRAGMENTS
