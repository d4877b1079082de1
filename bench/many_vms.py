"""R16 and R10 (command line): a large cluster is added, and very many virtual machines are listed."""

from __future__ import annotations

import time

from bench.site import ROCKS, BenchSite
from bench.table import Row, at_most
from bench.timing import in_turns, run_seconds, typical

COMPUTES = 200
MOST_STATEMENTS = 20
MOST_SECONDS = 1.0
CLUSTERS, VMS_PER_CLUSTER = 5, 4000
LIST_ROUNDS = 9
LIST_LIMIT_SECONDS = 0.3

_COUNTERS = ("Questions", "Com_set_option", "Com_commit")
_VERSION_CHECKS = 1
"""The first query of every connection reads the schema's version."""

_ADDED, _FULL = "bench_added", "bench_full"


def measure(site: BenchSite) -> list[Row]:
    """In separate databases, so that their rows do not slow other figures."""
    site.describe(_ADDED)
    site.describe(_FULL)
    return [*_add_cluster(site), _list_vms(site)]


def _add_cluster(site: BenchSite) -> list[Row]:
    arguments = ("203.0.113.9", str(COMPUTES), "fe-name=big", "cluster-naming=yes")
    own = _spent(site.status(*_COUNTERS), site.status(*_COUNTERS))  # the cost of the query for the counters
    before = site.status(*_COUNTERS)
    begin = time.perf_counter()
    site.rocks("add", "cluster", *arguments, database=_ADDED)
    seconds = time.perf_counter() - begin
    spent = _spent(own, _spent(before, site.status(*_COUNTERS)))
    connecting = spent["Com_set_option"] + spent["Com_commit"] + _VERSION_CHECKS
    statements, transactions = spent["Questions"] - connecting, spent["Com_commit"]
    what = f"`rocks add cluster` with {COMPUTES} computes"
    return [
        Row(
            "R16",
            f"{what}: statements",
            f"{statements} in {transactions}",
            f"<= {MOST_STATEMENTS} in 1",
            statements <= MOST_STATEMENTS and transactions == 1,
            f"statements in transactions, as the server counts them, less {connecting} of connecting and committing",
        ),
        at_most("R16", f"{what}: time", seconds, MOST_SECONDS, "s", "the whole command, once"),
    ]


def _list_vms(site: BenchSite) -> Row:
    for number in range(1, CLUSTERS + 1):
        arguments = (
            f"203.0.113.{number + 10}",
            str(VMS_PER_CLUSTER - 1),
            f"fe-name=c{number}",
            "cluster-naming=yes",
        )
        site.rocks("add", "cluster", *arguments, database=_FULL)
    command = [ROCKS, "list", "host", "vm"]
    full, bare = in_turns(
        [
            lambda: run_seconds(command, site.environment(_FULL)),
            lambda: run_seconds(command, site.environment()),
        ],
        LIST_ROUNDS,
    )
    how = (
        f"{typical(full):.2f} s less {typical(bare):.2f} s for the same command on an empty cluster, medians of "
        f"{LIST_ROUNDS}, in turns"
    )
    return at_most(
        "R10",
        f"`rocks list host vm` with {CLUSTERS * VMS_PER_CLUSTER:,} VMs, over bare start",
        typical(full) - typical(bare),
        LIST_LIMIT_SECONDS,
        "s",
        how,
    )


def _spent(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in before}
