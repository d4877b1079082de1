"""Sets of names in a statement, and rows sorted in the order of the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def has_empty_set(values: Sequence[object]) -> bool:
    """Whether one of a statement's values is a set without members, which no row is in."""
    return () in values or [] in values


def among(column: str, names: Sequence[str] | None) -> tuple[str, Sequence[Sequence[str]]]:
    """The condition that the column has one of the names, and its values; none of them for all rows (None).

    A list of all names of a large site takes the server longer than the rows.
    """
    return ("", ()) if names is None else (f" WHERE {column} IN %s", [names])


def in_order(rows: Iterable[tuple[Any, ...]], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Rows sorted by the position of their first cell in `names`; case is ignored."""
    place = {name.lower(): i for i, name in enumerate(names)}
    return sorted(rows, key=lambda row: place[str(row[0]).lower()])
