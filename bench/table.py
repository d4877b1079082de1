"""The table that the bench prints: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure: its number in the design, what it is, what was found, the goal, is it met, how it was got.

    `is_met` is None for a figure that was not measured, or that has no goal.
    """

    number: str
    what: str
    found: str
    goal: str
    is_met: bool | None
    how: str

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or `-` where there is nothing to judge."""
        if self.is_met is None:
            return "-"
        return "met" if self.is_met else "missed"


class Found(NamedTuple):
    """What one measurement has found: rows of the table, and further tables as text, which are printed below it."""

    rows: list[Row]
    tables: tuple[str, ...] = ()


def at_most(number: str, what: str, value: float, limit: float, unit: str, how: str) -> Row:
    """A row for a figure that must not exceed its limit; `unit` follows both numbers and may be empty."""
    unit = f" {unit}" if unit else ""
    return Row(number, what, f"{value:.2f}{unit}", f"<= {limit:g}{unit}", value <= limit, how)


def not_measured(number: str, what: str, why: str) -> Row:
    """A row for a figure that could not be measured."""
    return Row(number, what, "-", "", None, f"not measured: {' '.join(why.replace('|', '/').split())}")


def told(number: str, what: str, found: str, how: str) -> Row:
    """A row that has no goal, and stands beside one that has."""
    return Row(number, what, found, "", None, how)


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
