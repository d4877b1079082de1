"""The page that holds what the bench has printed: the text between two marks is replaced."""

from __future__ import annotations

from pathlib import Path

from rocks.errors import UserError

BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"


def refuse_unmarked(page: Path) -> None:
    """UserError unless the page is there and has each mark once, in order."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page} cannot be read: {error.strerror}") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{page} has no place for figures: a line {BEGIN} and, after it, a line {END}")


def with_figures(text: str, printed: str) -> str:
    """The page's text with what was printed between its marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{printed}\n{END}{after}"


def put(page: Path, printed: str) -> None:
    """Replace what the page has between its marks."""
    page.write_text(with_figures(page.read_text(encoding="utf-8"), printed), encoding="utf-8")
