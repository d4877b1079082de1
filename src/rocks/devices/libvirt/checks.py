"""What the promises about domains have in common: when one is active, and whose it is."""

from __future__ import annotations

from typing import Optional

from rocks.devices.libvirt.driver import DomainDriver
from rocks.errors import StateError
from rocks.wire.facts import DomainFact

ACTIVE = ("running", "blocked", "paused", "shutdown", "crashed")
"""States in which a domain has a QEMU process."""

GUEST_RUNS = ("running", "blocked")
"""States in which its guest runs."""


def is_active(domains: DomainDriver, name: str) -> bool:
    """Whether the domain has a QEMU process."""
    found = domains.find(name)
    return found is not None and found.state in ACTIVE


def require_running(domains: DomainDriver, name: str, token: Optional[int]) -> DomainFact:
    """The fact of a domain whose guest runs. StateError for any other, and for a lease newer than `token`."""
    found = domains.find(name)
    if found is None or found.state not in GUEST_RUNS:
        state = "absent" if found is None else found.state
        raise StateError(f"{name} does not run on this host: it is {state}")
    check_no_newer_lease(found, token)
    return found


def check_no_newer_lease(found: DomainFact, token: Optional[int]) -> None:
    """StateError when the domain runs under a lease newer than `token`; None stands for whichever there is."""
    if token is not None and found.token is not None and found.token > token:
        raise StateError(
            f"{found.name} is on this host under lease {found.token}, newer than {token}: "
            "somebody else has started it since"
        )
