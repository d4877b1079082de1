"""R8: the start-up time of a command."""

from __future__ import annotations

import os

from bench.site import ROCKS, BenchSite
from bench.table import Row, at_most
from bench.timing import in_turns, run_seconds, typical

ROUNDS = 60
LIMIT = 5.0
_PYTHON = "/usr/bin/python3"


def measure(site: BenchSite) -> list[Row]:
    """`rocks list host` on a cluster of one host, against a Python that does nothing."""
    environment = site.environment()
    rocks, python = in_turns(
        [
            lambda: run_seconds([ROCKS, "list", "host"], environment),
            lambda: run_seconds([_PYTHON, "-c", "pass"], os.environ),
        ],
        ROUNDS,
    )
    how = f"{typical(rocks) * 1000:.1f} ms / {typical(python) * 1000:.1f} ms, medians of {ROUNDS} runs each, in turns"
    return [
        at_most(
            "R8", "`rocks list host` / `python3 -c pass`", typical(rocks) / typical(python), LIMIT, "", how
        )
    ]
