"""What the plan of a start is made of in tests: facts of a host, its domains and disks; and the plan."""

from dataclasses import replace
from typing import Any

from rocks.core.values import BYTES_PER_GB
from rocks.fleet.wire.facts import DiskFact, DomainFact, HostFacts
from rocks.fleet.wire.requests import StartDomain
from rocks.inventory.records import VirtualMachine
from rocks.machine.plans import StartPlan, Way, plan_start
from rocks.machine.spec import MachineSpec, spec_of
from rocks.network.guest_connections import Connection
from tests.unit.machines import machine

IMAGE = "/images/web.vda"


def domain(name: str = "web", state: Any = "shutoff", **values: Any) -> DomainFact:
    """A domain of another lease, 1024 MB."""
    fact = DomainFact(name, "u", state, 3, 1024, 1, False, True, has_managed_save=False, disks=(IMAGE,))
    return replace(fact, **values)


def disk(path: str = IMAGE, **values: Any) -> DiskFact:
    """An image that is not there yet, on a file system of 500 GB."""
    fact = DiskFact(path, False, False, 0, filesystem_bytes=500 * BYTES_PER_GB, free_bytes=400 * BYTES_PER_GB)
    return replace(fact, **values)


def facts(*domains: DomainFact, disks: tuple[DiskFact, ...] = (disk(),), **values: Any) -> HostFacts:
    """A host of 8 GB and 4 CPUs."""
    host = HostFacts(8192, 4, True, True, domains, disks, fenced=())
    return replace(host, **values)


def requested(
    vm: VirtualMachine | None = None,
    connections: tuple[Connection, ...] = (),
    neighbours: dict[int, list[str]] | None = None,
    **values: Any,
) -> StartDomain:
    """The request for a start under lease 7."""
    vm = vm or machine()
    return replace(spec_of(vm, connections, neighbours or {}).request, token=7, **values)


def plan(
    reported: HostFacts,
    vm: VirtualMachine | None = None,
    connections: tuple[Connection, ...] = (),
    neighbours: dict[int, list[str]] | None = None,
    promised: dict[str, int] | None = None,
    **values: Any,
) -> StartPlan:
    """What the host with these facts does with it."""
    request = requested(vm, connections, neighbours, **values)
    return plan_start(request, (vm or machine()).memory_mb, reported, promised or {})


def started(
    reported: HostFacts,
    vm: VirtualMachine | None = None,
    connections: tuple[Connection, ...] = (),
    neighbours: dict[int, list[str]] | None = None,
) -> MachineSpec:
    """The spec of the machine, where it must be started anew."""
    assert plan(reported, vm, connections, neighbours).way is Way.START
    return spec_of(vm or machine(), connections, neighbours or {})
