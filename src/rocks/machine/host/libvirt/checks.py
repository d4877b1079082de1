"""Checks that start, stop and pause share: the state of a domain and its lease."""

from __future__ import annotations

from typing import Optional

from rocks.core.errors import StateError
from rocks.fleet.wire.facts import DomainFact
from rocks.machine.host.libvirt.driver import DomainDriver
from rocks.machine.plan import ACTIVE_STATES, GUEST_RUNS

_NEXT = {"paused": "resume", "crashed": "stop", "shutdown": "stop"}
"""The verb of the command that leads out of a state in which the guest does not run; else start."""


def is_active(domains: DomainDriver, name: str) -> bool:
    """Whether the domain has a QEMU process."""
    found = domains.find(name)
    return found is not None and found.state in ACTIVE_STATES


def require_running(domains: DomainDriver, name: str, token: Optional[int]) -> DomainFact:
    """The fact of a domain whose guest runs. StateError in other states, and for a lease newer than `token`."""
    found = domains.find(name)
    if found is None or found.state not in GUEST_RUNS:
        state = "absent" if found is None else found.state
        raise StateError(
            f"{name} is not running on this host: it is {state}; rocks {_NEXT.get(state, 'start')} host vm {name}"
        )
    check_no_newer_lease(found, token)
    return found


def check_no_newer_lease(found: DomainFact, token: Optional[int]) -> None:
    """StateError when the domain runs under a lease newer than `token`; None accepts any lease."""
    if token is not None and found.token is not None and found.token > token:
        raise StateError(
            f"{found.name} is on this host under lease {found.token}, newer than {token}: "
            "it was started again since"
        )
