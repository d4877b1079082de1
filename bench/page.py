"""The page with the output of the bench: the text between two markers is replaced."""

from __future__ import annotations

from pathlib import Path

from rocks.core.errors import UserError

BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"


def check_markers(page: Path) -> None:
    """UserError unless the page exists and has each marker once, in order."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page} cannot be read: {error.strerror}") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(
            f"{page} has no place for figures: it needs a line {BEGIN} and, after it, a line {END}"
        )


def with_figures(text: str, printed: str) -> str:
    """The page's text with the output between its markers."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{printed}\n{END}{after}"


def put(page: Path, printed: str) -> None:
    """Replace the text between the page's markers."""
    page.write_text(with_figures(page.read_text(encoding="utf-8"), printed), encoding="utf-8")
