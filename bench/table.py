"""The table that the bench prints: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure: its number in the design, name, result, goal, whether it is met, and the method.

    `is_met` is None for a figure that was not measured or has no goal.
    """

    number: str
    what: str
    found: str
    goal: str
    is_met: bool | None
    how: str

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or `-` without a result or a goal."""
        if self.is_met is None:
            return "-"
        return "met" if self.is_met else "missed"


class Found(NamedTuple):
    """The result of one measurement: rows of the table, and further tables as text, printed below it."""

    rows: list[Row]
    tables: tuple[str, ...] = ()


def at_most(number: str, what: str, value: float, limit: float, unit: str, how: str) -> Row:
    """A row for a figure that must not exceed its limit, both of two decimals; `unit` follows both and may be empty."""
    unit = f" {unit}" if unit else ""
    return Row(number, what, f"{value:.2f}{unit}", f"<= {round(limit, 2):g}{unit}", value <= limit, how)


def not_measured(number: str, what: str, why: str) -> Row:
    """A row for a figure that could not be measured."""
    return Row(number, what, "-", "", None, f"not measured: {' '.join(why.replace('|', '/').split())}")


def without_goal(number: str, what: str, found: str, how: str) -> Row:
    """A row without a goal, for comparison with one that has a goal."""
    return Row(number, what, found, "", None, how)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table with aligned columns, one line per figure."""
    header = ("", "figure", "found", "goal", "verdict", "how it was measured")
    lines = [
        header,
        *((row.number, row.what, row.found, row.goal, row.verdict, row.how) for row in rows),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
    printed = [_line(line, widths) for line in lines]
    rule = "|".join(["", *("-" * (width + 2) for width in widths), "---", ""])
    return "\n".join([printed[0], rule, *printed[1:]])


def read_markdown(text: str) -> list[Row]:
    """The rows of a text of `markdown`."""
    verdicts = {"met": True, "missed": False}
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return [
        Row(number, what, found, goal, verdicts.get(verdict), how)
        for number, what, found, goal, verdict, how in lines
    ]


def place(number: str) -> int:
    """Where a figure is among others: 9 for `R9`."""
    return int(number[1:])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "| " + " | ".join([*padded, cells[-1]]) + " |"
