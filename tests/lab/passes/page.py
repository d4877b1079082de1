"""The page of recorded passes, docs/lab-passes.md: module → its last complete pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rocks.files import write_file
from tests.lab.passes.keys import CHECKOUT

PAGE = CHECKOUT / "docs" / "lab-passes.md"
_HEAD = """\
# Recorded passes of the lab's tests

The modules of `tests/lab` that passed completely, each with its [content key](lab.md#recorded-passes). `make test-lab`,
`make test-lab-long` and `make test-lab-ci` write this page. `make lab-stale` lists the modules whose current key has no
pass here. A `+` after the commit: files of the key had uncommitted changes.

| module | key | commit | date | cases | seconds |
|---|---|---|---|---|---|
"""


class Pass(NamedTuple):
    """A complete run of a module without a failure."""

    key: str
    commit: str
    date: str
    cases: str
    """How many passed; `2 of 3` when others were skipped."""

    seconds: int


def read(page: Path = PAGE) -> dict[str, Pass]:
    """The recorded passes by module; empty without a page. ValueError for a malformed row."""
    if not page.exists():
        return {}
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    fields = [[field.strip() for field in row.strip("|").split("|")] for row in rows]
    return {
        module: Pass(key, commit, date, cases, int(seconds))
        for module, key, commit, date, cases, seconds in fields
    }


def record(module: str, passed: Pass, page: Path = PAGE) -> None:
    """Set the module's row; other rows stay."""
    _write({**read(page), module: passed}, page)


def remove(module: str, key: str, page: Path = PAGE) -> None:
    """Remove the module's pass if it has that key: the module has failed since."""
    _write({name: row for name, row in read(page).items() if (name, row.key) != (module, key)}, page)


def stale(keys: Mapping[str, str], page: Path = PAGE) -> list[str]:
    """The modules whose key, of these, has no recorded pass."""
    recorded = {module: row.key for module, row in read(page).items()}
    return sorted(module for module, key in keys.items() if recorded.get(module) != key)


def _write(rows: Mapping[str, Pass], page: Path) -> None:
    lines = [f"| {' | '.join((module, *map(str, row)))} |\n" for module, row in sorted(rows.items())]
    write_file(page, _HEAD + "".join(lines), mode=0o644)
