"""Stop a domain and confirm that it is gone; the frontend then releases the lease.

The lease ends first: libvirt's hook rejects each start that has not reached it by then, and a domain that has passed it
is found and destroyed. So when the end is confirmed, no request of the past can start the domain again.
"""

from __future__ import annotations

from typing import Callable, List

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import IncoherentError, StateError, ToolError
from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.wire.facts import Fence
from rocks.fleet.wire.requests import StopDomain
from rocks.machine.host.libvirt.driver import DomainDriver, is_active
from rocks.machine.plans import waits_for_guest

_BUTTON_AGAIN_SECONDS = 10.0
_POLL_SECONDS = 0.1


def ensure_stopped(domains: DomainDriver, request: StopDomain, end_lease: Callable[[int], None]) -> Change:
    """End the lease, stop a domain and undefine it, keeping its NVRAM. The caller has planned it.

    `end_lease` is called with the token, also when there is no domain. `shutdown` waits for the guest until the
    deadline, then powers it off.
    """
    name, seconds = request.name, request.deadline_seconds
    found = domains.find(name)
    notes: List[str] = []
    if waits_for_guest(request, found) and not _ends_by_itself(domains, name, seconds):
        notes.append(f"{name} did not shut down within {seconds:g} s and was powered off")
    known = [token for token in (request.token, None if found is None else found.token) if token is not None]
    if known:
        end_lease(max(known))
    found = domains.find(name)
    if found is None:
        return UNCHANGED
    domains.destroy(name)
    if found.has_managed_save:
        domains.drop_managed_save(name)
        notes.append(f"the saved memory of {name} is discarded")
    domains.undefine(name)
    _confirm_gone(domains, name)
    return Change(True, tuple(notes))


def ensure_fenced(domains: DomainDriver, fence: Fence) -> bool:
    """Destroy and undefine the domain if its lease is below the fence; whether the fence holds.

    The caller has ended the leases below the fence. It does not hold for a domain without a lease: this system does
    not manage it, so an operator must act.
    """
    found = domains.find(fence.name)
    if found is not None and found.token is not None and found.token < fence.below_token:
        domains.destroy(fence.name)
        domains.erase(fence.name)
        _confirm_gone(domains, fence.name)
        return True
    return found is None or found.token is not None


def _ends_by_itself(domains: DomainDriver, name: str, deadline_seconds: float) -> bool:
    deadline, button = Deadline(deadline_seconds), Deadline(0)
    while is_active(domains, name):
        if deadline.passed():
            return False
        if button.passed():
            # a guest that is still booting misses the first event
            _press_power_button(domains, name)
            button = Deadline(_BUTTON_AGAIN_SECONDS)
        wait_seconds(_POLL_SECONDS)
    return True


def _press_power_button(domains: DomainDriver, name: str) -> None:
    try:
        domains.press_power_button(name)
    except (StateError, ToolError):
        if is_active(domains, name):
            raise


def _confirm_gone(domains: DomainDriver, name: str) -> None:
    found = domains.find(name)
    if found is not None:
        raise IncoherentError(
            f"{name} was stopped and undefined, but libvirt still reports it: {found.state}"
        )
