"""The picture at the head of the page: each figure as a bar against its goal, or against its peer. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from bench.table import Row

_GOAL = re.compile(r"([<>]=) ([\d.]+)( \S+)?")
_FOUND = re.compile(r"(-?[\d.]+)( \S+)?")
_LEAST, _MOST = 0.01, 100.0
_LINE, _LEFT, _WIDTH = 16, 560, 400
_COLOURS = {True: "#2a7f62", False: "#c0392b", None: "#6f88a8"}
_STYLE = "font: 12px sans-serif"


def share_of_goal(row: Row) -> float | None:
    """How much was needed of what its goal permits; 1 meets it. None where the units differ, or the goal is 0.

    Of a row without a goal the ratio to its peer: to another program, or to a layer below.
    """
    goal, found = _GOAL.fullmatch(row.goal), _FOUND.fullmatch(row.found)
    if not row.goal and " / " in row.what and found and not found[2]:
        return float(found[1])
    if not goal or not found or goal[3] != found[2] or not float(goal[2]):
        return None
    share = float(found[1]) / float(goal[2])
    if goal[1] == "<=":
        return max(share, 0.0)
    return 1 / share if share > 0 else math.inf


def svg(rows: Sequence[Row], earlier: Mapping[tuple[str, str], Sequence[Row]] | None = None) -> str:
    """A bar for each row with a share, on a logarithmic scale from 1/100 of the goal to 100 times; as XML.

    Circles are the row's earlier measurements, by its number and name.
    """
    bars = [(row, share) for row in rows if (share := share_of_goal(row)) is not None]
    height = _LINE * (len(bars) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 60}" height="{height}" style="{_STYLE}">',
        f'<rect width="100%" height="{height}" fill="white"/>',
    ]
    for mark in (0.01, 0.1, 1, 10, 100):
        x = _LEFT + _across(mark)
        colour = "#000" if mark == 1 else "#ccc"
        lines.append(f'<path d="M{x:.0f} {_LINE}V{height}" stroke="{colour}"/>')
        lines.append(
            f'<text x="{x:.0f}" y="12" text-anchor="middle">{"goal" if mark == 1 else f"{mark:g}"}</text>'
        )
    for number, (row, share) in enumerate(bars, 1):
        y = number * _LINE + 4
        name = f"{row.number} {row.what}".replace("`", "")
        name = name if len(name) <= 88 else f"{name[:87]}…"
        colour = _COLOURS[row.is_met]
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 10}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect x="{_LEFT}" y="{y}" width="{_across(share):.0f}" height="11" fill="{colour}"/>')
        before = map(share_of_goal, (earlier or {}).get((row.number, row.what), ()))
        lines += [
            f'<circle cx="{_LEFT + _across(one):.0f}" cy="{y + 5.5}" r="2.5" fill="none" stroke="black"/>'
            for one in before
            if one is not None
        ]
    return "\n".join([*lines, "</svg>", ""])


def _across(share: float) -> float:
    """Pixels from the left edge of the bars."""
    within = min(max(share, _LEAST), _MOST)
    return _WIDTH * math.log(within / _LEAST) / math.log(_MOST / _LEAST)
