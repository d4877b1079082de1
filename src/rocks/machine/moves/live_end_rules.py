"""Where a machine is whose live migration has ended or was interrupted, by what both hosts report. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.fleet.wire.domain_states import GUEST_RUNS, is_active

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.fleet.wire.facts import DomainFact, HostFacts
    from rocks.inventory.records import Lease


def domain_on(answer: HostFacts | RocksError, name: str) -> DomainFact | None:
    """The domain on the host; None when there is none, or the host does not answer."""
    if isinstance(answer, RocksError):
        return None
    return next((domain for domain in answer.domains if domain.name.lower() == name.lower()), None)


def is_off_on_both(
    name: str, host: str | None, target: str | None, facts: Mapping[str, HostFacts | RocksError | None]
) -> bool:
    """Whether both hosts of a live migration answer, and the guest is off on both: nobody will complete it."""
    answers = [facts.get(place) for place in (host or "", target or "")]
    return all(
        answer is not None and not isinstance(answer, RocksError) and not is_active(answer, name)
        for answer in answers
    )


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
