"""The page of recorded passes, docs/lab-passes.md: module → what ran, and with which content key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rocks.files import write_file
from tests.lab.passes.keys import CHECKOUT

PAGE = CHECKOUT / "docs" / "lab-passes.md"
_HEAD = """\
# Passes of the lab

Each module of tests/lab that has passed whole, with the key of what its result depends on. `make test-lab`,
`make test-lab-long` and `make test-lab-ci` write this page ([recorded passes](lab.md#recorded-passes)).
`make lab-stale` prints the modules whose key has no pass here. `+`: files of the key were not as in the commit.

| module | key | commit | date | cases | seconds |
|---|---|---|---|---|---|
"""


class Pass(NamedTuple):
    """A run of a whole module without a failure."""

    key: str
    commit: str
    date: str
    cases: str
    """How many passed; `2 of 3` when others were skipped."""

    seconds: int


def read(page: Path = PAGE) -> dict[str, Pass]:
    """The recorded passes by module; none without a page. ValueError for a row of another shape."""
    if not page.exists():
        return {}
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    fields = [[field.strip() for field in row.strip("|").split("|")] for row in rows]
    return {
        module: Pass(key, commit, date, cases, int(seconds))
        for module, key, commit, date, cases, seconds in fields
    }


def record(module: str, passed: Pass, page: Path = PAGE) -> None:
    """Have this row for the module; those of others stay."""
    _write({**read(page), module: passed}, page)


def remove(module: str, key: str, page: Path = PAGE) -> None:
    """Have no pass of the module with that key: it has failed since."""
    _write({name: row for name, row in read(page).items() if (name, row.key) != (module, key)}, page)


def stale(keys: Mapping[str, str], page: Path = PAGE) -> list[str]:
    """The modules, of those with these keys, that have no recorded pass."""
    recorded = {module: row.key for module, row in read(page).items()}
    return sorted(module for module, key in keys.items() if recorded.get(module) != key)


def _write(rows: Mapping[str, Pass], page: Path) -> None:
    lines = [f"| {' | '.join((module, *map(str, row)))} |\n" for module, row in sorted(rows.items())]
    write_file(page, _HEAD + "".join(lines), mode=0o644)
