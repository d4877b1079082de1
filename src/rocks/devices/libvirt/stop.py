"""Stop a domain and confirm that it is gone; the frontend then releases the lease."""

from __future__ import annotations

from typing import List

from rocks.clock import Deadline, wait_seconds
from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.libvirt.checks import ACTIVE, GUEST_RUNS, check_no_newer_lease, is_active
from rocks.devices.libvirt.driver import DomainDriver
from rocks.errors import IncoherentError, StateError, ToolError
from rocks.wire.agent import ForgetDomain, StopDomain
from rocks.wire.facts import DomainFact, Fence

_BUTTON_AGAIN_SECONDS = 10.0
_POLL_SECONDS = 0.1


def ensure_stopped(domains: DomainDriver, request: StopDomain) -> Change:
    """Stop a domain and undefine it, keeping its NVRAM.

    `shutdown` waits for the guest until the deadline, then powers it off. StateError for `shutdown` of a paused or
    saved domain, and for a lease newer than that of the request.
    """
    found = domains.find(request.name)
    if found is None:
        return UNCHANGED
    check_no_newer_lease(found, request.token)
    notes = _shut_down(domains, found, request.deadline_seconds) if request.action == "shutdown" else []
    domains.destroy(request.name)
    if found.has_managed_save:
        domains.drop_managed_save(request.name)
        notes.append(f"discarded the managed save of {request.name}")
    domains.undefine(request.name)
    _confirm_gone(domains, request.name)
    return Change(True, tuple(notes))


def ensure_forgotten(domains: DomainDriver, request: ForgetDomain) -> Change:
    """Destroy and undefine a domain with its NVRAM; its disks stay."""
    found = domains.find(request.name)
    if found is None:
        return UNCHANGED
    check_no_newer_lease(found, request.token)
    domains.destroy(request.name)
    domains.erase(request.name)
    _confirm_gone(domains, request.name)
    return CHANGED


def ensure_fenced(domains: DomainDriver, fence: Fence) -> bool:
    """Destroy and undefine the domain if its lease is below the fence; whether the fence holds.

    It does not hold for a domain without a lease: this system does not manage it, so an operator must act.
    """
    found = domains.find(fence.name)
    if found is not None and found.token is not None and found.token < fence.below_token:
        ensure_forgotten(domains, ForgetDomain(fence.name))
        return True
    return found is None or found.token is not None


def _shut_down(domains: DomainDriver, found: DomainFact, deadline_seconds: float) -> List[str]:
    if found.has_managed_save and found.state not in ACTIVE:
        raise StateError(
            f"{found.name} has a managed save, so its guest cannot shut down; start it, or stop it with "
            "action=poweroff, which discards the managed save"
        )
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
