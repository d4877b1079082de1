"""Formats tables and JSON; pure."""

from __future__ import annotations

from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from rocks.core.errors import code_of
from rocks.core.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rocks.core.errors import RocksError

    Row = tuple[object, ...]


LINES_AT_ONCE = 1000
"""Lines of a table that are made in one piece: a processor's cache has room for them, memory for a million has not."""


def table_parts(
    header: Sequence[str],
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
    show_header: bool = True,
    pad: str = "-",
) -> Iterator[list[str]]:
    """Lines of rows under a header, each column as wide as its longest cell or its header, one blank between.

    An empty cell is filled with `pad`. Without `pad` the cells are printed raw, with one blank between them, as in
    reports. `columns` selects the columns whose lower-case header it lists, in table order; a table without a header
    is printed whole.
    """
    table: list[Sequence[object]] = [[name.upper() for name in header], *rows] if header else list(rows)
    selected = selected_columns(header, rows, columns)
    texts = cell_columns(table, selected, raw=not pad)
    count = max(map(len, table), default=0)
    widths = {i: max(map(len, texts[i])) if pad else 0 for i in selected}
    for begin in range(0, len(table), LINES_AT_ONCE):
        end = begin + LINES_AT_ONCE
        filled = {i: _filled(texts[i][begin:end], widths[i], pad) for i in selected}
        lines = [" ".join(cells) for cells in zip(*filled.values(), strict=True)]
        for number, row in enumerate(table[begin:end]):
            if len(row) < count:
                lines[number] = " ".join(cells[number] for i, cells in filled.items() if i < len(row))
        yield lines[1:] if header and not show_header and begin == 0 else lines


def long_table_parts(
    header: Sequence[str],
    each_row: Callable[[], Iterable[tuple[str, ...]]],
    columns: Sequence[str] | None,
    show_header: bool,
    pad: str,
) -> Iterator[list[str]]:
    """As `table_parts`, of rows of texts that are not kept: with `pad` they are made twice, for the widths.

    All have as many texts. The first one is the owner, which gets a colon. Without rows there is no header.
    """
    widths: dict[int, int] = {}
    for cells in _long_columns(header, each_row, columns) if pad else ():
        for i, column in cells.items():
            longest = max(len(text) for text in _printed(i, column, pad).values())
            widths[i] = max(widths.get(i, len(header[i]) if header else 0), longest)
    is_first = bool(header) and show_header
    for cells in _long_columns(header, each_row, columns):
        if is_first:
            yield [" ".join(header[i].upper().ljust(widths.get(i, 0)) for i in cells)]
            is_first = False
        texts = []
        for i, column in cells.items():
            printed = _printed(i, column, pad)
            filled = dict(zip(printed, _filled([*printed.values()], widths.get(i, 0), pad), strict=True))
            texts.append(map(filled.__getitem__, column))
        yield list(map(" ".join, zip(*texts, strict=True)))


def _long_columns(
    header: Sequence[str], each_row: Callable[[], Iterable[tuple[str, ...]]], columns: Sequence[str] | None
) -> Iterator[dict[int, tuple[str, ...]]]:
    """Number of a column → its texts in as many rows as one piece has."""
    rows = iter(each_row())
    while part := list(islice(rows, LINES_AT_ONCE)):
        whole = list(zip(*part, strict=True))
        yield {i: whole[i] for i in selected_columns(header, part[:1], columns)}


def _printed(number: int, column: Sequence[str], pad: str) -> dict[str, str]:
    """Text → what is printed for it: a text occurs often in a column of a million."""
    end = "" if number else ":"
    return {text: f"{one_line(text) if pad else text}{end}" for text in set(column)}


def without_common_owner(header: Sequence[str], rows: Sequence[Row]) -> tuple[Sequence[str], Sequence[Row]]:
    """Header and rows without the owner's column when all rows have the same owner."""
    if len({row[0] for row in rows}) != 1:
        return header, rows
    return header[1:], [row[1:] for row in rows]


def error_fields(error: RocksError) -> dict[str, str]:
    """An error in JSON: "family", one of `rocks.core.errors.FAMILIES`, and "code", a `Code` or ''."""
    return {"family": error.family, "code": code_of(error)}


def json_text(
    header: Sequence[str], rows: Sequence[Row], object_name: str, columns: Sequence[str] | None
) -> str:
    """The rows as a JSON array, one object for each run of rows with the same owner, keys in lower case."""
    import json

    keys = [name.lower() for name in header]
    owner_key = keys[0] if keys else "owner"
    groups: list[dict[str, object]] = []
    for row in rows:
        cells = {
            key: value
            for key, value in zip(keys[1:], row[1:], strict=False)
            if columns is None or key in columns
        }
        if groups and groups[-1][owner_key] == row[0]:
            members = groups[-1][object_name]
            assert isinstance(members, list)
            members.append(cells)
        else:
            groups.append({owner_key: row[0], object_name: [cells]})
    return json.dumps(groups, indent=4, default=str) + "\n"


def selected_columns(header: Sequence[str], rows: Sequence[Row], columns: Sequence[str] | None) -> list[int]:
    """The numbers of the columns that are printed."""
    count = max([len(header), *(len(row) for row in rows)])
    if columns is None or not header:
        return list(range(count))
    return [i for i, name in enumerate(header) if name.lower() in columns]


def cell_columns(
    table: Sequence[Sequence[object]], selected: Sequence[int], raw: bool
) -> dict[int, list[str]]:
    """Number of a column → the texts of its cells, each in one line unless it is printed raw."""
    # Column by column: half the time of line by line, which counts in a list of 20,000 machines.
    whole = list(zip_longest(*table))
    return {i: _texts(whole[i], raw) for i in selected}


def _texts(column: Sequence[object], raw: bool) -> list[str]:
    """The texts of a column's cells, each in one line unless it is printed raw."""
    texts = ["" if cell is None else str(cell) for cell in column]
    return texts if raw else [one_line(text) for text in texts]


def _filled(texts: Sequence[str], width: int, pad: str) -> Sequence[str]:
    """The texts, padded to the width; unchanged without `pad`."""
    if not pad:
        return texts
    empty = pad * width
    return [text.ljust(width) if text else empty for text in texts]
