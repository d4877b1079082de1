"""What the plan of a start is made of in tests: facts of a host, its domains and disks; and the plan."""

from dataclasses import replace
from typing import Any

from rocks.core.units import BYTES_PER_GB
from rocks.fleet.wire.facts import DiskFact, DomainFact, HostFacts
from rocks.machine.start_plan import (
    AlreadyStarted,
    StartPlan,
    plan_start,
)
from rocks.network.guest_connections import Connection
from tests.unit.machines import machine

IMAGE = "/images/web.vda"


def domain(name: str = "web", state: Any = "shutoff", **values: Any) -> DomainFact:
    """A domain of another lease, 1024 MB."""
    fact = DomainFact(name, "u", state, 3, 1024, 1, autostart=False, persistent=True, has_managed_save=False)
    return replace(fact, **values)


def disk(path: str = IMAGE, **values: Any) -> DiskFact:
    """An image that is not there yet, on a file system of 500 GB."""
    fact = DiskFact(path, False, False, 0, filesystem_bytes=500 * BYTES_PER_GB, free_bytes=400 * BYTES_PER_GB)
    return replace(fact, **values)


def facts(*domains: DomainFact, disks: tuple[DiskFact, ...] = (disk(),), **values: Any) -> HostFacts:
    """A host of 8 GB and 4 CPUs."""
    host = HostFacts("vmc-0-0", "6.1", "x86_64", 8192, 4, True, True, "tcg", domains, disks, fenced=())
    return replace(host, **values)


def plan(
    reported: HostFacts,
    vm: Any = None,
    connections: tuple[Connection, ...] = (),
    promised_mb: int = 0,
    neighbours: dict[int, list[str]] | None = None,
) -> StartPlan | AlreadyStarted:
    """The plan for a machine under lease 7."""
    return plan_start(vm or machine(), connections, reported, 7, promised_mb, neighbours or {})


def started(*arguments: Any, **values: Any) -> StartPlan:
    """As `plan`, where it must be one to start."""
    found = plan(*arguments, **values)
    assert isinstance(found, StartPlan)
    return found
