"""Tables for a terminal: in its width, with colours. Pure. Imported only where the output is a terminal.

Free text is wrapped; names, addresses and other cells are whole whatever the width. A file or another program gets the
table of `tables.py`, and JSON has whole texts everywhere.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from rocks.commands._framework.tables import cell_columns, selected_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rocks.commands._framework.tables import Row

FREE_TEXT = frozenset(
    (
        "args",
        "command",
        "comment",
        "description",
        "detail",
        "flags",
        "holds",
        "line",
        "not taken over because",
        "note",
        "old value",
        "options",
        "problem",
        "reason",
        "report",
        "services",
        "text",
        "value",
        "why",
        "would be taken over",
    )
)
"""Headers of columns that may be wrapped, in lower case."""
NARROWEST = 16
"""Characters that a wrapped column has at least."""
MAX_LINES = 8
"""Lines of a cell; what does not fit ends with an ellipsis."""

STATES = frozenset(("filter", "result", "state", "status"))
"""Headers of columns whose cells are states."""
RED_STATES = frozenset(
    (
        "blocked",
        "crashed",
        "error",
        "expired",
        "failed",
        "first boot failed",
        "missing",
        "nostate-error",
        "not allowed",
        "silent",
        "wrong",
    )
)
"""States that end only by what an operator does."""
YELLOW_STATES = frozenset(
    ("down", "expires soon", "fence", "not deployed", "paused", "unconnected", "unknown")
)
"""States that an operator should know about."""
_YELLOW_COLUMN = "problem"

BOLD, RED, YELLOW, PLAIN = "\033[1m", "\033[31m", "\033[33m", "\033[0m"
"""ECMA-48, select graphic rendition."""
_STYLE = re.compile(r"(\033\[[0-9;]*m)")


def terminal_lines(
    header: Sequence[str],
    rows: Sequence[Row],
    columns: Sequence[str] | None,
    show_header: bool,
    pad: str,
    width: int | None,
    with_colour: bool,
) -> Iterator[str]:
    """The lines of `tables.table_parts`, in a width of so many characters as far as free text allows."""
    selected = selected_columns(header, rows, columns)
    table: list[Sequence[object]] = [[name.upper() for name in header], *rows]
    texts = cell_columns(table, selected, raw=False)
    natural = {i: max(map(len, texts[i])) for i in selected}
    names = {i: header[i].lower() if i < len(header) else "" for i in selected}
    widths = natural if width is None else fitted_widths(natural, names, width)
    for number, row in enumerate(table):
        if number == 0 and not show_header:
            continue
        cells = [_wrapped(texts[i][number], widths[i], pad) for i in selected if i < len(row)]
        sizes = [widths[i] for i in selected if i < len(row)]
        styles = [
            _style(names[i], texts[i][number], number == 0) if with_colour else ""
            for i in selected
            if i < len(row)
        ]
        for place in range(max(map(len, cells), default=1)):
            yield " ".join(
                _styled(lines[place] if place < len(lines) else "", size, style)
                for lines, size, style in zip(cells, sizes, styles, strict=True)
            )


def fitted_widths(natural: Mapping[int, int], names: Mapping[int, str], width: int) -> dict[int, int]:
    """Column → its width: where the table is too wide, its columns of free text get less, the widest first."""
    widths = dict(natural)
    flexible = sorted((i for i in natural if names[i] in FREE_TEXT), key=lambda i: natural[i])
    left = width - (len(natural) - 1) - sum(natural[i] for i in natural if i not in flexible)
    for place, i in enumerate(flexible):
        share = max(left // (len(flexible) - place), NARROWEST, len(names[i]))
        widths[i] = min(natural[i], share)
        left -= widths[i]
    return widths


def cut_line(line: str, columns: int) -> str:
    """The line with so many characters at most; what sets its colour does not count, and stays."""
    parts = []
    for part in _STYLE.split(line):
        if part.startswith("\033"):
            parts.append(part)
        else:
            parts.append(part[:columns])
            columns -= len(parts[-1])
    return "".join(parts)


def _wrapped(text: str, width: int, pad: str) -> list[str]:
    """The lines of a cell; an empty one is filled."""
    if len(text) <= width:
        return [text or pad * width]
    lines = textwrap.wrap(
        text,
        width,
        replace_whitespace=False,
        break_on_hyphens=False,
        max_lines=MAX_LINES,
        placeholder="…",
    )
    return lines or [""]


def _style(name: str, text: str, is_header: bool) -> str:
    if is_header:
        return BOLD
    if name == _YELLOW_COLUMN:
        return YELLOW
    if name not in STATES:
        return ""
    state = text.partition(" (")[0]
    return RED if state in RED_STATES else YELLOW if state in YELLOW_STATES else ""


def _styled(text: str, width: int, style: str) -> str:
    filled = text.ljust(width)
    return f"{style}{text}{PLAIN}{filled[len(text) :]}" if style and text.strip() else filled
