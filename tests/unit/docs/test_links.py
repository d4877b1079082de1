"""Links between pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import CHECKOUT, all_pages, without_code

_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The names under which a page's headings are reached, as GitHub and GitLab make them."""
    names = set()
    for heading in _HEADING.findall(text):
        cleaned = re.sub(r"[^\w\- ]", "", heading.lower())
        names.add(cleaned.strip().replace(" ", "-"))
    return names


def relative_links() -> list[tuple[Path, str]]:
    """(page, target) of every link that does not leave the project."""
    return [
        (page, target)
        for page in all_pages()
        for target in _LINK.findall(without_code(page.read_text("utf-8")))
        if "://" not in target
    ]


@pytest.mark.parametrize(
    ("page", "target"), [(str(page.relative_to(CHECKOUT)), target) for page, target in relative_links()]
)
def test_a_link_leads_somewhere(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    place = (CHECKOUT / page).parent / path if path else CHECKOUT / page

    assert place.exists(), f"{page} links to {target}"
    if anchor:
        assert anchor in anchors(place.read_text("utf-8")), f"{page} links to {target}"


def test_there_are_links() -> None:
    assert len(relative_links()) > 20


def test_every_decision_is_listed() -> None:
    folder = CHECKOUT / "docs" / "decisions"
    listed = set(_LINK.findall((folder / "README.md").read_text("utf-8")))

    assert {page.name for page in folder.glob("[0-9]*.md")} == listed


@pytest.mark.parametrize(
    "page", sorted(page.name for page in (CHECKOUT / "docs" / "decisions").glob("[0-9]*.md"))
)
def test_a_decision_has_its_four_parts(page: str) -> None:
    text = (CHECKOUT / "docs" / "decisions" / page).read_text("utf-8")

    assert re.fullmatch(r"[0-9]{4}-[a-z0-9-]+\.md", page)
    assert text.startswith(f"# {int(page[:4])}. ")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == [
        "Context",
        "Choice",
        "Rejected",
        "Consequences",
    ]
