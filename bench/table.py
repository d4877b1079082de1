"""The table that the bench prints: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure: its number in the design, what it is, what was found, the goal, is it met, how it was got."""

    number: str
    what: str
    found: str
    goal: str
    is_met: bool
    how: str

    @property
    def verdict(self) -> str:
        """`met` or `missed`."""
        return "met" if self.is_met else "missed"


def at_most(number: str, what: str, value: float, limit: float, unit: str, how: str) -> Row:
    """A row for a figure that must not exceed its limit; `unit` follows both numbers and may be empty."""
    unit = f" {unit}" if unit else ""
    return Row(number, what, f"{value:.2f}{unit}", f"<= {limit:g}{unit}", value <= limit, how)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table that reads well on a terminal and in a page: one line a figure."""
    header = ("", "figure", "found", "goal", "verdict", "how it was measured")
    lines = [
        header,
        *((row.number, row.what, row.found, row.goal, row.verdict, row.how) for row in rows),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
    shown = [_line(line, widths) for line in lines]
    rule = "|".join(["", *("-" * (width + 2) for width in widths), "---", ""])
    return "\n".join([shown[0], rule, *shown[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "| " + " | ".join([*padded, cells[-1]]) + " |"
