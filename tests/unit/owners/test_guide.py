"""The owner's guide and the terms of the pages, as they are made from the documents."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from comet.client import records
from nucleus.states import LIVING_SETS
from owners.portal import guide
from owners.portal.pages import STATIC


class Tags(HTMLParser):
    """Fails where a tag is closed that is not open. `links` are the targets of links, `anchors` those of headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.links, self.anchors = list[str](), set[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("tr", "td", "th"):  # which HTML closes by itself
            self.open.append(tag)
        given = dict(attrs)
        self.links |= {given["href"] or ""} if "href" in given else set()
        self.anchors |= {f"#{given['id']}"} if "id" in given else set()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_guide_is_well_formed_and_its_links_lead_to_its_headings() -> None:
    text = guide.guide()
    assert text is not None
    tags = Tags(text)
    assert tags.open == [] and tags.links and tags.links <= tags.anchors
    assert "#in-a-browser" in tags.anchors, "the link of each page"
    outside = re.sub("<pre.*?</pre>", "", text, flags=re.DOTALL)
    assert not re.search(r"\]\(|!\[|```|^\|", outside, re.MULTILINE), "what was not understood"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a <b> & `<c>`", "<p>a &lt;b&gt; &amp; <code>&lt;c&gt;</code></p>"),
        ("*Text* and [one *two*](#three)\nfour", '<p><em>Text</em> and <a href="#three">one <em>two</em></a> four</p>'),
        ("[commands](comet.md) 2 * 3 * 4", "<p>commands 2 * 3 * 4</p>"),
        ("## When it's *over*: how", '<h2 id="when-its-over-how">When it\'s <em>over</em>: how</h2>'),
        ("```\n$ <x>\n\ny\n```", '<pre tabindex="0">$ &lt;x&gt;\n\ny</pre>'),
        ("    a\n    b", '<pre tabindex="0">a\nb</pre>'),
        ("| h |\n|---|\n| a \\| b |", "<table><tr><th>h<tr><td>a | b</table>"),
        ("![a picture](pictures/x.png)", ""),
    ],
)  # fmt: skip
def test_what_the_guide_has_becomes_html(
    given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owners.md").write_text(f"# Title\n\n{given}\n", "utf-8")
    monkeypatch.setattr(guide, "guide_page", lambda name: str(tmp_path / name))
    assert guide.guide() == expected


def test_without_the_documents_there_is_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "guide_page", lambda name: str(tmp_path / "guide" / name))
    guide.terms.cache_clear()
    assert guide.guide() is None and guide.terms() == {}
    guide.terms.cache_clear()


def test_terms_are_those_of_the_glossary() -> None:
    assert {"computeset, set", "node hour", "walltime"} <= set(guide.terms())
    assert all(guide.terms().values())


def test_pages_and_comet_have_the_states_and_the_words_of_a_set() -> None:
    text = (STATIC / "shared/sets.js").read_text("utf-8")
    (living,) = re.findall(r"LIVING = \[(.*)\]", text)
    assert tuple(re.findall(r"\w+", living)) == records.LIVING_STATES == LIVING_SETS
    (by_scheduler,) = re.findall('BY_SCHEDULER = "(.*)"', text)
    found = dict(
        re.findall(r"(\w+): (?:'([^']*)'|BY_SCHEDULER)", text.partition("REASONS = {")[2].partition("}")[0])
    )
    assert {key: value or by_scheduler for key, value in found.items()} == records._REASONS  # noqa: SLF001
