"""What libvirt knows of a domain, as a `DomainFact`."""

from __future__ import annotations

from typing import Any, Container, Dict, NamedTuple, Optional

import libvirt  # noqa: TID251 - of this folder

from rocks.core.clock import Deadline, wait_seconds
from rocks.fleet.wire.facts import DomainFact, DomainState
from rocks.machine.host.libvirt.domain_xml import parse_domain
from rocks.machine.host.libvirt.errors import libvirt_errors

_STATES: Dict[int, DomainState] = {
    libvirt.VIR_DOMAIN_NOSTATE: "blocked",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "shutoff",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
}
GONE = (libvirt.VIR_ERR_NO_DOMAIN,)
_STARTING = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
_STARTING_SECONDS = 15.0
_POLL_SECONDS = 0.05


class Flags(NamedTuple):
    """The names of the domains that have each."""

    autostart: Container[str]
    persistent: Container[str]
    saved: Container[str]


def fact_of(domain: Any, flags: Flags) -> Optional[DomainFact]:
    """None for a domain that was undefined meanwhile."""
    name = domain.name()
    with libvirt_errors(f"report the state of {name}", but=GONE):
        state = _STATES[_settled_state(domain)]
        document = parse_domain(domain.XMLDesc())
        return DomainFact(
            name=name,
            uuid=document.uuid,
            state=state,
            token=document.token,
            memory_mb=document.memory_mb,
            cpus=document.cpus,
            autostart=name in flags.autostart,
            persistent=name in flags.persistent,
            has_managed_save=name in flags.saved,
            disks=document.disks,
            listeners=document.listeners,
            machine_type=document.machine_type,
        )
    return None


def _settled_state(domain: Any) -> int:
    """libvirt's number of the state; waits for the end of a start in progress.

    During a start libvirt 9.0 reports the state paused, although the domain must not be resumed.
    """
    deadline = Deadline(_STARTING_SECONDS)
    state, reason = domain.state()
    while (state, reason) == _STARTING and not deadline.passed():
        wait_seconds(_POLL_SECONDS)
        state, reason = domain.state()
    return int(state)
