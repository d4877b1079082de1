"""The part of the bench that uses the lab, which is started as each figure needs it, and restarted if it ran before.

A machine that cannot run the lab, or a lab that fails, loses only its own rows.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.images.figures import FIGURES, Figure
from bench.relayed import run_relayed
from bench.site import CHECKOUT, STATE
from bench.table import Found, Row, not_measured
from lab.machines.checkout import STATE as LAB_STATE
from lab.machines.namespace import Namespace
from rocks.core.errors import RocksError

_PYTHON = "/usr/bin/python3"
_BUILD_SECONDS = 1800.0
_STOP_SECONDS = 120.0
_SETUP_SECONDS = 900
"""For the set-up of the site, which is repeated after each failed figure."""


def measure(numbers: set[str]) -> Found:
    """The figures of image storage, all of them or those of these numbers. Raises no RocksError."""
    figures = [figure for figure in FIGURES if not numbers or figure.numbers & numbers]
    if not figures:
        return Found([])
    lab_was_running = Namespace(LAB_STATE).holder() is not None
    parts = [
        _measure_with(cpus, [figure for figure in figures if figure.cpus == cpus], numbers)
        for cpus in sorted({figure.cpus for figure in figures})
    ]
    if lab_was_running:
        _try("start", what="`make lab`", deadline_seconds=_BUILD_SECONDS)
    return Found(
        [row for part in parts for row in part.rows], tuple(one for part in parts for one in part.tables)
    )


def _measure_with(cpus: int, figures: Sequence[Figure], numbers: set[str]) -> Found:
    """In machines that have so many processors each."""
    result = STATE / "bench-images"
    result.unlink(missing_ok=True)
    why = "the lab ended before it came to this"
    _stop()
    try:
        _lab("start", f"cpus={cpus}", what="`make lab`", deadline_seconds=_BUILD_SECONDS)
        _measure(figures, numbers, result)
    except RocksError as error:
        why = str(error)
    finally:
        _stop()
    return collect(figures, result, why)


def _measure(figures: Sequence[Figure], numbers: set[str], result: Path) -> None:
    deadline = sum(figure.deadline_seconds for figure in figures) + _SETUP_SECONDS
    theirs = {number for figure in figures for number in figure.numbers}
    command = [
        sys.executable,
        "-m",
        "bench.images",
        str(result),
        *sorted(theirs & numbers if numbers else theirs),
    ]
    _lab("run", *command, what="measuring in the lab", deadline_seconds=deadline)


def _lab(*arguments: str, what: str, deadline_seconds: float) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}"}
    run_relayed([_PYTHON, "-m", "lab.machines", *arguments], environment, what, deadline_seconds)


def _stop() -> None:
    _try("stop", what="`make lab-stop`", deadline_seconds=_STOP_SECONDS)


def _try(*arguments: str, what: str, deadline_seconds: float) -> None:
    try:
        _lab(*arguments, what=what, deadline_seconds=deadline_seconds)
    except RocksError as error:
        print(error, file=sys.stderr)


def collect(figures: Sequence[Figure], result: Path, why: str) -> Found:
    """The measured rows, a line of the file for each figure in their order; `why` is the reason in the other rows."""
    rows: list[Row] = []
    tables: list[str] = []
    measured = 0  # a line each, in their order
    if result.exists():
        for line in result.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            rows += [Row(*row) for row in found["rows"]]
            tables += found["tables"]
            measured += 1
        result.unlink()
    for figure in figures[measured:]:
        rows += [not_measured(number, what, why) for number, what in figure.rows]
    return Found(rows, tuple(tables))
