"""A machine that moves between two silent hosts: its names, its lease, and hosts that answer."""

from collections.abc import Iterator, Mapping
from typing import Any

from rocks.core.errors import HostError, RocksError
from rocks.fleet.wire.facts import DomainFact, DomainState, HostFacts, LeaseFact
from rocks.fleet.wire.requests import OperationOutcome
from rocks.machine import converge, stop
from rocks.machine.record import DiskCopy, put_copies
from tests.system.commands.conftest import Site

OLD = "vmc-0-0"
NEW = "vmc-0-1"
INTERRUPTED = f"web was moving from {OLD} to {NEW} when the command was interrupted"
STAYS = ("moving", OLD, NEW)
FORCE = ("stop", "host", "vm", "WEB", "force=yes", "reason=it is off")
SILENT = HostError("no route")


def unanswered(error: RocksError) -> Any:
    """In the place of `perform_operations`: no host says what became of its operations."""

    def perform(database: object, fleet: object, operations: Mapping[str, Any], *_: object) -> Iterator[Any]:
        for of_host in operations.values():
            yield from ((operation.name, error) for operation in of_host)

    return perform


def lease(site: Site) -> tuple[object, ...]:
    """State, host and target."""
    return site.database.rows("SELECT State, Host, Target FROM vm_leases WHERE Name = 'web'")[0]


def answers(site: Site, here: HostFacts | RocksError, there: HostFacts | RocksError) -> None:
    """What the hosts report to the command that gives the move up; afterwards they are silent."""
    copies = [DiskCopy(NEW, "/state/partition1/web.vda")]
    put_copies(site.database, "web", copies)
    site.database.commit()
    site.patch.setattr(stop, "perform_operations", lambda *_: [("web", OperationOutcome("web", False))])
    site.patch.setattr(stop, "contact_hosts", lambda *_, **__: {OLD: here, NEW: there})
    site.patch.setattr(converge, "perform_operations", unanswered(SILENT))


def host_with(state: DomainState | None, remembered: int = 7) -> HostFacts:
    """A host with the domain in this state, or without it, which remembers this lease of the machine."""
    domain = DomainFact("web", "u", state or "shutoff", 7, 64, 1, False, True, False, ())
    domains = () if state is None else (domain,)
    known = (LeaseFact("web", remembered),)
    return HostFacts(1, 1, True, True, domains, (), (), leases=known)
