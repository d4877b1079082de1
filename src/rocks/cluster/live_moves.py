"""Where a machine is whose live migration has ended or was interrupted, by what both hosts report. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.errors import RocksError

if TYPE_CHECKING:
    from rocks.cluster.records import Lease
    from rocks.wire.facts import DomainFact, HostFacts


GUEST_RUNS = ("running", "blocked")


def domain_on(answer: HostFacts | RocksError, name: str) -> DomainFact | None:
    """The domain on the host; None when there is none, or the host does not answer."""
    if isinstance(answer, RocksError):
        return None
    return next((domain for domain in answer.domains if domain.name.lower() == name.lower()), None)


def has_arrived(lease: Lease, here: HostFacts | RocksError, there: HostFacts | RocksError) -> bool | None:
    """Whether the machine is that of the new host now; None when nobody knows.

    `here` and `there` are what the old and the new host report when nothing works on the migration any more, or why
    that is not known. `here` has the leases that the host remembers.

    A guest that runs on its old host runs there alone, whatever the new one reports: libvirt paused it there before
    the other one could be resumed. A domain that the new host has kept at the end has arrived, also when it is off or
    paused by now. The old host has ended the lease only when libvirt had moved the machine.
    """
    left_behind, found = domain_on(here, lease.name), domain_on(there, lease.name)
    if left_behind is not None and left_behind.state in GUEST_RUNS:
        return False
    if found is not None and found.token == lease.token:
        return True
    if not isinstance(here, RocksError) and left_behind is None:
        remembered = {fact.name.lower(): fact.token for fact in here.leases}
        if remembered.get(lease.name.lower(), 0) > lease.token:
            return True
    return None if isinstance(there, RocksError) else False
