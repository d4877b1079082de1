"""R16: a large cluster is added to an empty site, and to one with very many virtual machines."""

from __future__ import annotations

import time

from bench.site import BenchSite
from bench.table import Row, at_most

COMPUTES = 200
MAX_STATEMENTS = 20
MAX_SECONDS = 1.0

_COUNTERS = ("Questions", "Com_set_option", "Com_commit")
_VERSION_CHECKS = 1
"""The first query of every connection reads the schema's version."""

_ADDED = "bench_added"


def measure(site: BenchSite) -> list[Row]:
    """In a separate database, so that its rows do not slow other figures."""
    site.describe(_ADDED)
    return add_cluster(site, _ADDED, "203.0.113.9", "to an empty site")


def add_cluster(site: BenchSite, database: str, ip: str, where: str) -> list[Row]:
    """The rows for a large cluster whose frontend has this address."""
    arguments = (ip, str(COMPUTES), "fe-name=big", "cluster-naming=yes")
    own = _spent(site.status(*_COUNTERS), site.status(*_COUNTERS))  # the cost of the query for the counters
    before = site.status(*_COUNTERS)
    begin = time.perf_counter()
    site.rocks("add", "cluster", *arguments, database=database)
    seconds = time.perf_counter() - begin
    spent = _spent(own, _spent(before, site.status(*_COUNTERS)))
    connecting = spent["Com_set_option"] + spent["Com_commit"] + _VERSION_CHECKS
    statements, transactions = spent["Questions"] - connecting, spent["Com_commit"]
    what = f"`rocks add cluster` with {COMPUTES} computes {where}"
    return [
        Row(
            "R16",
            f"{what}: statements",
            f"{statements} in {transactions}",
            f"<= {MAX_STATEMENTS} in 1",
            statements <= MAX_STATEMENTS and transactions == 1,
            f"statements in transactions, as the server counts them, less {connecting} of connecting and committing",
        ),
        at_most("R16", f"{what}: time", seconds, MAX_SECONDS, "s", "the whole command, once"),
    ]


def _spent(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in before}
