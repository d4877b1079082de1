"""Cores, memory of NUMA nodes and PCI devices: what a starting machine gets of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import HostError, RocksError
from rocks.fleet.wire.placement import ShapeQuestion
from rocks.machine.placement.placement_attributes import read_request
from rocks.machine.placement.shapes import ShapeLeases
from rocks.machine.providers.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.fleet.wire.facts import HostFacts
    from rocks.machine.lease_grants import Attempt
    from rocks.machine.placement.shapes import Placement, ShapeRequest
    from rocks.machine.providers.provider import Questions


class Placements(Provider):
    """No host is asked, and no statement sent, when no machine asks for anything. A saved machine still has its own."""

    def ask(self, attempts: Sequence[Attempt], questions: Questions) -> None:
        """Only hosts of machines that ask for something; these machines fail alone when a host cannot be asked."""
        addresses: dict[str, set[str]] = {}
        for request in _requests(attempts).values():
            pools = {name.lower(): found for name, found in request.pools.items()}
            asked = addresses.setdefault(request.host, set())
            asked.update(address for pool in request.devices for address in pools.get(pool.lower(), ()))
        questions.shapes.update(
            {host: ShapeQuestion(tuple(sorted(found))) for host, found in addresses.items()}
        )

    def claim(self, attempts: Sequence[Attempt], facts: Mapping[str, HostFacts | RocksError]) -> None:
        """Lease cores, pages and devices; the commit of the caller ends the lock of the hosts.

        An attempt whose host is short of something fails alone, and keeps what an interrupted start of it has: its
        agent may still be working.
        """
        requests = _requests(attempts)
        if not requests:
            return
        from rocks.machine.placement import records as table

        hosts = sorted({request.host for request in requests.values()})
        table.lock_hosts(self.database, hosts)
        given = table.leases_on(self.database, hosts)
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
        table.replace_leases(self.database, done, claimed)


def _plan(
    request: ShapeRequest, answer: HostFacts | RocksError, leased: ShapeLeases
) -> tuple[Placement, ShapeLeases]:
    from rocks.machine.placement.plan import plan_shape

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
