"""Cores, memory of NUMA nodes and PCI devices: what a starting machine gets of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import HostError, RocksError
from rocks.fleet.wire.placement import ShapeQuestion
from rocks.machine.placement import records as table
from rocks.machine.placement.plan import ShapeLeases, plan_shape
from rocks.machine.placement.requests import read_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.wire.facts import HostFacts
    from rocks.machine.leases.leases import Attempt
    from rocks.machine.placement.plan import Placement, ShapeRequest


def questions(attempts: Sequence[Attempt]) -> dict[str, ShapeQuestion]:
    """Host → what its facts must report; only for hosts of machines that ask for something. Others fail alone."""
    addresses: dict[str, set[str]] = {}
    for request in _requests(attempts).values():
        pools = {name.lower(): found for name, found in request.pools.items()}
        asked = addresses.setdefault(request.host, set())
        asked.update(address for pool in request.devices for address in pools.get(pool.lower(), ()))
    return {host: ShapeQuestion(tuple(sorted(found))) for host, found in addresses.items()}


def claim_shapes(
    database: Database, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]
) -> None:
    """Lease cores, pages and devices to the machines of the attempts, in the database and in each attempt.

    An attempt whose host is short of something fails alone, and keeps what an interrupted start of it has: its agent
    may still be working. The caller commits before a host is contacted, which ends
    the lock of the hosts. No statement is sent when no machine asks for anything.
    """
    requests = _requests(attempts)
    if not requests:
        return
    hosts = sorted({request.host for request in requests.values()})
    table.lock_hosts(database, hosts)
    given = table.leases_on(database, hosts)
    claimed = ShapeLeases()
    done: list[tuple[str, int]] = []
    for attempt in attempts:
        request = requests.get(attempt.vm.name)
        if request is None:
            continue
        with attempt.failing_alone():
            leased = given.plus(claimed).on(request.host)
            attempt.placement, leases = _plan(request, facts[request.host], leased)
            claimed = claimed.plus(leases)
            done.append((request.name, request.token))
    table.replace_leases(database, done, claimed)


def _plan(
    request: ShapeRequest, answer: HostFacts | RocksError, leased: ShapeLeases
) -> tuple[Placement, ShapeLeases]:
    if isinstance(answer, RocksError):
        raise HostError(f"{request.name} is not started: {answer}")
    if answer.shape is None:
        raise HostError(
            f"{request.name} is not started: {request.host} does not report its cores and memory; upgrade its agent"
        )
    return plan_shape(request, answer.shape, leased)


def _requests(attempts: Sequence[Attempt]) -> dict[str, ShapeRequest]:
    """Name → what the machine asks for; those that ask for nothing are left out."""
    requests = {}
    for attempt in attempts:
        with attempt.failing_alone():
            request = read_request(attempt.vm, attempt.token)
            if not request.is_empty:
                requests[attempt.vm.name] = request
    return requests
