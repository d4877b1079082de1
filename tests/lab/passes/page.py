"""The page of recorded passes, docs/evidence/lab-passes.md: module → its last complete pass."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rocks.core.errors import ToolError
from rocks.core.files import write_file
from tests.lab.passes.keys import CHECKOUT

PAGE = CHECKOUT / "docs" / "evidence" / "lab-passes.md"
_HEAD = """\
# Recorded passes of the lab's tests

The last complete run without a failure of each module of `tests/lab`, with its
[content key](../lab.md#recorded-passes). `2 of 3`: the third case was skipped. A row whose key is not current says
nothing about the present code; a module without a row has no recorded pass. `make test-lab`, `make test-lab-long` and
`make test-lab-ci` write this page. `make lab-stale` lists the modules whose current key has no pass here. A `+` after
the commit: files of the key had uncommitted changes. The machines are of Debian 12, unless a row names others
(`make lab HOSTS=trixie NAS=bookworm`).

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
    """The recorded passes by module; empty without a page. ToolError, with the row, for a malformed row."""
    try:
        lines = page.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ToolError(f"cannot read {page}: {error}") from None
    passes: dict[str, Pass] = {}
    for row in [line for line in lines if line.startswith("| ")][1:]:
        try:
            module, key, commit, date, cases, seconds = (field.strip() for field in row.strip("|").split("|"))
            passes[module] = Pass(key, commit, date, cases, int(seconds))
        except ValueError:
            raise ToolError(f"{page} has a row that is no pass; remove it: {row}") from None
    return passes


def record(module: str, passed: Pass, page: Path = PAGE) -> None:
    """Set the module's row; other rows stay."""
    with _locked(page):
        _write({**read(page), module: passed}, page)


def remove(module: str, key: str, page: Path = PAGE) -> None:
    """Remove the module's pass if it has that key: the module has failed since."""
    with _locked(page):
        _write({name: row for name, row in read(page).items() if (name, row.key) != (module, key)}, page)


def stale(keys: Mapping[str, str], page: Path = PAGE) -> list[str]:
    """The modules whose key, of these, has no recorded pass."""
    recorded = {module: row.key for module, row in read(page).items()}
    return sorted(module for module, key in keys.items() if recorded.get(module) != key)


@contextmanager
def _locked(page: Path) -> Iterator[None]:
    """Of two writers, the second waits for the first: each reads the page, then replaces it."""
    folder = os.open(page.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(rows: Mapping[str, Pass], page: Path) -> None:
    lines = [f"| {' | '.join((module, *map(str, row)))} |\n" for module, row in sorted(rows.items())]
    write_file(page, _HEAD + "".join(lines), mode=0o644)
