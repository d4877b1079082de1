"""The page with the output of the bench, between two markers: a run of some figures replaces their rows only."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from bench import picture, table
from bench.table import Row
from rocks.core.errors import UserError

BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"
_RUN = re.compile(r"(R\d+(?: R\d+)*): (.*)")
"""The line of a run of some figures; that of all figures has no numbers."""


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


def output(run: str, rows: Sequence[Row], more: Sequence[str]) -> str:
    """What the bench prints: a line for the run, the table, and further tables, each below its title."""
    return "\n\n".join([run, table.markdown(rows), *more])


def merged(old: str, numbers: Collection[str], run: str, rows: Sequence[Row], more: Sequence[str]) -> str:
    """The output `old` with the rows of these figures replaced, the line of their run, and tables by their titles.

    A figure of which nothing could be measured keeps what it has.
    """
    numbers = {row.number for row in rows if row.found != "-"}.intersection(numbers)
    rows = [row for row in rows if row.number in numbers]
    if not numbers:
        return old
    head, cells, tail = _parts(old)
    others = [row for row in table.read_markdown(cells) if row.number not in numbers]
    runs = [line for line in (_without(line, numbers) for line in head.splitlines()) if line]
    titles = {one.partition("\n")[0] for one in more}
    tables = [one for one in re.findall(r"^\S[^`]*```.*?```", tail, re.MULTILINE | re.DOTALL)
              if one.partition("\n")[0] not in titles]  # fmt: skip
    names = " ".join(sorted(numbers, key=table.place))
    all_rows = sorted([*others, *rows], key=lambda row: table.place(row.number))
    return output("\n\n".join([*runs, f"{names}: {run}"]), all_rows, [*tables, *more])


def _parts(text: str) -> tuple[str, str, str]:
    """The lines of the runs, the table, and further tables of an output."""
    head, *lines = re.split(r"^(?=\|)", text, maxsplit=1, flags=re.MULTILINE)
    cells, _, tail = "".join(lines).partition("\n\n")
    return head, cells, tail


def _without(line: str, numbers: Collection[str]) -> str:
    """The line of a run without these figures; empty when it has no others."""
    found = _RUN.fullmatch(line)
    if found is None:
        return line
    names = [name for name in found[1].split() if name not in numbers]
    return f"{' '.join(names)}: {found[2]}" if names else ""


def put(page: Path, printed: str) -> None:
    """Replace the text between the page's markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{printed}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def put_figures(
    page: Path, numbers: Collection[str], run: str, rows: Sequence[Row], more: Sequence[str]
) -> None:
    """Put the output into the page; only what belongs to the figures, where there are numbers.

    A picture of all rows of the page is written beside it: `page.svg` of `page.md`.
    """
    old = page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    new = merged(old, numbers, run, rows, more) if numbers else output(run, rows, more)
    put(page, new)
    page.with_suffix(".svg").write_text(picture.svg(table.read_markdown(_parts(new)[1])), encoding="utf-8")
