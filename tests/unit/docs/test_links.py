"""Links between pages lead somewhere."""

import re
from functools import cache
from pathlib import Path

from tests.unit.docs.pages import CHECKOUT, all_pages, without_code

_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """The names under which a page's headings are reached, as GitHub and GitLab make them."""
    names = set()
    for heading in _HEADING.findall(page.read_text("utf-8")):
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


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    place = page.parent / path if path else page
    return place.exists() and (not anchor or anchor in anchors(place))


def test_every_link_leads_somewhere() -> None:
    links = relative_links()
    assert len(links) > 20
    assert [f"{page} links to {target}" for page, target in links if not leads_somewhere(page, target)] == []


def test_every_decision_is_listed() -> None:
    folder = CHECKOUT / "docs" / "decisions"
    listed = set(_LINK.findall((folder / "README.md").read_text("utf-8")))

    assert {page.name for page in folder.glob("[0-9]*.md")} == listed


def cited_decisions(text: str) -> set[int]:
    """The numbers behind `decision` or `decisions`, also with a line end or a link in between."""
    lists = re.findall(r"[dD]ecisions?[\s#]+((?:\[?\d+(?:\]\([^)]*\))?(?:,\s*|\s+and\s+|\s+or\s+)?)+)", text)
    return {int(number) for found in lists for number in re.findall(r"\d+", re.sub(r"\([^)]*\)", "", found))}


def test_every_decision_that_is_cited_has_its_page() -> None:
    """In pages, code and scripts; messages are part of the code."""
    there = {int(page.name[:4]) for page in (CHECKOUT / "docs" / "decisions").glob("[0-9]*.md")}
    folders = ("docs", "src", "lab", "tests", "tools", "bench", "nodes", "packaging", "roll")
    files = [*CHECKOUT.glob("*.md"), *(path for folder in folders for path in (CHECKOUT / folder).rglob("*"))]
    texts = {
        path: path.read_text("utf-8", "ignore") for path in files if path.is_file() and path.suffix != ".pyc"
    }
    cited = [(path, number) for path, text in texts.items() for number in cited_decisions(text)]

    assert [(path, number) for path, number in cited if number not in there] == []
    assert len({number for _, number in cited}) > 20
    assert cited_decisions("(decisions 3 and\n31), [decision 24](x/0024-y.md)") == {3, 24, 31}


def has_its_four_parts(page: Path) -> bool:
    text = page.read_text("utf-8")
    parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
    return (
        re.fullmatch(r"[0-9]{4}-[a-z0-9-]+\.md", page.name) is not None
        and text.startswith(f"# {int(page.name[:4])}. ")
        and parts == ["Context", "Choice", "Rejected", "Consequences"]
    )


def test_every_decision_has_its_four_parts() -> None:
    pages = sorted((CHECKOUT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [page.name for page in pages if not has_its_four_parts(page)] == []


def test_every_test_that_a_page_names_is_there() -> None:
    """A name that ends with `…` is the beginning of one; blocks of code are examples."""
    texts = [path.read_text("utf-8") for path in (CHECKOUT / "tests").rglob("test_*.py")]
    there = {path.stem for path in (CHECKOUT / "tests").rglob("test_*.py")}
    there |= {name for text in texts for name in re.findall(r"def (test_\w+)\(", text)}
    for page in all_pages():
        for name, more in re.findall(
            r"\b(test_\w+)\b(…?)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        ):
            assert name in there or (more and any(one.startswith(name) for one in there)), f"{page}: {name}"
