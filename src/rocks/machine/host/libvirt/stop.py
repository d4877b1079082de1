"""Stop a domain and confirm that it is gone; the frontend then releases the lease.

The lease ends first: libvirt's hook rejects each start that has not reached it by then, and a domain that has passed it
is found and destroyed. So when the end is confirmed, no request of the past can start the domain again.
"""

from __future__ import annotations

from typing import Callable, List, Optional

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import IncoherentError, StateError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import DomainFact, Fence
from rocks.fleet.wire.requests import ForgetDomain, StopDomain
from rocks.machine.host.libvirt.checks import check_no_newer_lease, is_active
from rocks.machine.host.libvirt.driver import DomainDriver
from rocks.machine.plan import ACTIVE_STATES, GUEST_RUNS

_BUTTON_AGAIN_SECONDS = 10.0
_POLL_SECONDS = 0.1


def ensure_stopped(domains: DomainDriver, request: StopDomain, end_lease: Callable[[int], None]) -> Change:
    """End the lease, stop a domain and undefine it, keeping its NVRAM.

    `end_lease` is called with the token, also when there is no domain. `shutdown` waits for the guest until the
    deadline, then powers it off. StateError for `shutdown` of a paused domain, for a saved domain unless the request
    discards that, and for a lease newer than that of the request.
    """
    found = domains.find(request.name)
    notes = []
    if found is not None:
        check_no_newer_lease(found, request.token)
        if found.has_managed_save and found.state not in ACTIVE_STATES and not request.discards_save:
            raise StateError(
                f"{found.name} is saved on this host: rocks restore host vm {found.name} continues it, and rocks stop "
                f"host vm {found.name} saved=remove discards what its guest had in memory"
            )
        if request.action == "shutdown":
            notes = _shut_down(domains, found, request.deadline_seconds)
    _end_lease(end_lease, request.token, found)
    found = domains.find(request.name)
    if found is None:
        return UNCHANGED
    domains.destroy(request.name)
    if found.has_managed_save:
        domains.drop_managed_save(request.name)
        notes.append(f"the saved memory of {request.name} is discarded")
    domains.undefine(request.name)
    _confirm_gone(domains, request.name)
    return Change(True, tuple(notes))


def ensure_forgotten(
    domains: DomainDriver, request: ForgetDomain, end_lease: Callable[[int], None]
) -> Change:
    """End the lease as `ensure_stopped` does; destroy and undefine a domain with its NVRAM. Its disks stay."""
    found = domains.find(request.name)
    if found is not None:
        check_no_newer_lease(found, request.token)
    _end_lease(end_lease, request.token, found)
    return _erase(domains, request.name)


def ensure_fenced(domains: DomainDriver, fence: Fence) -> bool:
    """Destroy and undefine the domain if its lease is below the fence; whether the fence holds.

    The caller has ended the leases below the fence. It does not hold for a domain without a lease: this system does
    not manage it, so an operator must act.
    """
    found = domains.find(fence.name)
    if found is not None and found.token is not None and found.token < fence.below_token:
        _erase(domains, fence.name)
        return True
    return found is None or found.token is not None


def _end_lease(end_lease: Callable[[int], None], token: Optional[int], found: Optional[DomainFact]) -> None:
    tokens = [token, found.token if found is not None else None]
    known = [token for token in tokens if token is not None]
    if known:
        end_lease(max(known))


def _erase(domains: DomainDriver, name: str) -> Change:
    if domains.find(name) is None:
        return UNCHANGED
    domains.destroy(name)
    domains.erase(name)
    _confirm_gone(domains, name)
    return CHANGED


def _shut_down(domains: DomainDriver, found: DomainFact, deadline_seconds: float) -> List[str]:
    if found.state == "paused":
        raise StateError(
            f"{found.name} is paused, so its guest cannot shut down; resume it, or stop it with action=poweroff"
        )
    if found.state not in GUEST_RUNS or _ends_by_itself(domains, found.name, deadline_seconds):
        return []
    return [f"{found.name} did not shut down within {deadline_seconds:g} s and was powered off"]


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
