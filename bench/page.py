"""The page with the output of the bench, between two markers: a run of some figures replaces their rows only."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from bench import picture, table
from bench.table import Row
from rocks.core.errors import UserError
from rocks.core.process import run

BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"
RUNS = 10
"""Earlier results of a row that the picture has."""

_MAX_COMMITS, _GIT_SECONDS = 200, 20.0
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


def output(line: str, rows: Sequence[Row], more: Sequence[str]) -> str:
    """What the bench prints: a line for the run, the table, and further tables, each below its title."""
    return "\n\n".join([line, table.markdown(rows), *more])


def merged(old: str, numbers: Collection[str], line: str, rows: Sequence[Row], more: Sequence[str]) -> str:
    """The output `old` with the rows of these figures replaced, the line of their run, and tables by their titles.

    A figure of which nothing could be measured keeps what it has.
    """
    numbers = {row.number for row in rows if row.found != "-"}.intersection(numbers)
    rows = [row for row in rows if row.number in numbers]
    if not numbers:
        return old
    head, cells, tail = _parts(old)
    others = [row for row in table.read_markdown(cells) if row.number not in numbers]
    runs = [one for one in (_without(one, numbers) for one in head.splitlines()) if one]
    titles = {one.partition("\n")[0] for one in more}
    tables = [one for one in re.findall(r"^\S[^`]*```.*?```", tail, re.MULTILINE | re.DOTALL)
              if one.partition("\n")[0] not in titles]  # fmt: skip
    names = " ".join(sorted(numbers, key=table.place))
    all_rows = sorted([*others, *rows], key=lambda row: table.place(row.number))
    return output("\n\n".join([*runs, f"{names}: {line}"]), all_rows, [*tables, *more])


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
    page: Path, numbers: Collection[str], line: str, rows: Sequence[Row], more: Sequence[str]
) -> None:
    """Put the output into the page; only what belongs to the figures, where there are numbers.

    A picture of all rows of the page, and of their earlier measurements, is written beside it: `page.svg` of `page.md`.
    """
    old = page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    new = merged(old, numbers, line, rows, more) if numbers else output(line, rows, more)
    put(page, new)
    rows = table.read_markdown(_parts(new)[1])
    page.with_suffix(".svg").write_text(picture.svg(rows, _earlier(page, rows)), encoding="utf-8")


def _earlier(page: Path, rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The latest other results of each row in the page's history, by its number and name; none without a history."""
    found: dict[tuple[str, str], list[Row]] = {}
    latest = {(row.number, row.what): row for row in rows}
    # commits and paths by turns; the page was in another folder before
    listed = _git(
        page, "log", "--follow", "--no-merges", "--name-only", "--format=%h", "--", page.name
    ).split()
    for commit, path in list(zip(listed[::2], listed[1::2], strict=True))[:_MAX_COMMITS]:
        text = _git(page, "show", f"{commit}:{path}").partition(BEGIN)[2].partition(END)[0]
        try:
            then = table.read_markdown(_parts(text.strip())[1])
        except ValueError:  # a table of another form
            break
        for row in then:
            runs = found.setdefault((row.number, row.what), [])
            before = runs[-1] if runs else latest.get((row.number, row.what))
            if len(runs) < RUNS and before is not None and before.how != row.how:
                runs.append(row)
    return found


def _git(page: Path, *arguments: str) -> str:
    ended = run(["git", "-C", str(page.parent), *arguments], deadline_seconds=_GIT_SECONDS)
    return ended.text if ended.exit_status == 0 else ""
