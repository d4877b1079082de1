"""Sets of names in a statement: place holders for an IN list, and rows put back into the order of the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def marks(values: Sequence[object]) -> str:
    """Place holders for an IN list of as many values."""
    return ", ".join(["%s"] * len(values))


def in_order(rows: Iterable[tuple[Any, ...]], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Rows sorted by the place of their first cell in `names`; case does not count."""
    place = {name.lower(): i for i, name in enumerate(names)}
    return sorted(rows, key=lambda row: place[str(row[0]).lower()])
