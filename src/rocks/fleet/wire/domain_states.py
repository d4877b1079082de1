"""States of a domain, as libvirt names them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.fleet.wire.facts import DomainFact, HostFacts

ACTIVE_STATES = ("running", "blocked", "paused", "shutdown", "crashed")
"""States in which a domain holds memory and may write to its disks."""

GUEST_RUNS = ("running", "blocked")
"""States in which the guest runs."""


def is_active(facts: HostFacts, name: str) -> bool:
    """Whether a domain of that name uses memory on the host, and so may write to its disks."""
    return any(d.name.lower() == name.lower() and is_active_domain(d) for d in facts.domains)


def is_active_domain(domain: DomainFact | None) -> bool:
    """Whether it uses memory, and so may write to its disks: it has a QEMU process."""
    return domain is not None and domain.state in ACTIVE_STATES
