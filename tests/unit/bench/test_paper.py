"""The page of the documents' numbers is up to date, and its words are the documents'."""

import os
from pathlib import Path

import pytest

from bench import page, paper
from rocks.core.errors import UserError
from tests.unit.docs.pages import CHECKOUT
from tests.unit.docs.test_conformance import MAX_WORD_COUNT, documents, normalised


def test_the_page_is_up_to_date() -> None:
    text = (CHECKOUT / "docs" / "evidence" / "paper.md").read_text("utf-8")
    assert text.partition(page.BEGIN)[2].partition(page.END)[0].strip() == paper.printed(), (
        "run make paper INTO=docs/evidence/paper.md"
    )


def test_each_row_has_a_verdict_a_reason_and_a_short_quote() -> None:
    for number in paper.NUMBERS:
        assert number.verdict in paper.VERDICTS
        assert number.reason
        assert len(number.quote.split()) <= MAX_WORD_COUNT


def test_without_the_page_of_the_bench_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent.md"):
        paper.printed(tmp_path / "absent.md")


def test_the_page_of_the_bench_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    before = paper.BENCH_PAGE.read_bytes()
    assert paper.main([str(paper.BENCH_PAGE)]) != 0
    assert "INTO=docs/evidence/paper.md" in capsys.readouterr().err
    assert paper.BENCH_PAGE.read_bytes() == before


@pytest.mark.skipif(not os.environ.get("SEEDS"), reason="SEEDS does not name the folder with the documents")
def test_the_words_are_those_of_the_documents() -> None:
    assert [n.quote for n in paper.NUMBERS if normalised(n.quote) not in documents()[n.document]] == []
