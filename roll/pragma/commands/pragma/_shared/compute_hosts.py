"""How many CPUs of a cluster each host gets. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rocks.core.errors import StateError

MAX_COMPUTE_CPUS = 255
"""Of a compute: the most that a virtual machine of the site can have (`rocks set host cpus`)."""


class FreeHost(NamedTuple):
    """A host and its free CPUs; rack and rank order hosts with as many."""

    name: str
    free_cpus: int
    rack: int = 0
    rank: int = 0


def plan_computes(hosts: Sequence[FreeHost], cpus: int) -> list[tuple[str, int]]:
    """(host, CPUs) of each compute: the hosts with the most free CPUs first, the higher rack and rank among equals.

    Each host used has one compute, with what it has free or what is still needed, at most `MAX_COMPUTE_CPUS`.
    StateError when all have too few.
    """
    ordered = sorted(hosts, key=lambda host: (host.free_cpus, host.rack, host.rank), reverse=True)
    found: list[tuple[str, int]] = []
    needed = cpus
    for host in ordered:
        share = min(host.free_cpus, needed, MAX_COMPUTE_CPUS)
        if share > 0:
            found.append((host.name, share))
            needed -= share
    if needed:
        is_limited = any(host.free_cpus > MAX_COMPUTE_CPUS for host in hosts)
        limit = f" (one compute on each, with {MAX_COMPUTE_CPUS} at most)" if is_limited else ""
        raise StateError(
            f"{cpus} CPUs are not free: the VM containers have {cpus - needed} free{limit}; give fewer, or stop "
            "machines"
        )
    return found
