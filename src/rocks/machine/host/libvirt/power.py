"""Start and stop domains; a stop confirms that the domain is gone."""

from __future__ import annotations

import contextlib
from typing import Callable, List, NamedTuple, Optional, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, IncoherentError, RocksError, StateError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import DomainFact, Fence, is_active_domain
from rocks.fleet.wire.requests import StartDomain, StopDomain
from rocks.machine.host.libvirt.domain_xml import DomainDocument, parse_domain
from rocks.machine.host.libvirt.driver import DomainDriver, is_active
from rocks.machine.plans import Way, waits_for_guest

# Start a domain as it was planned: define, start, or continue. Idempotent at every point.

_ENDING_SECONDS = 10.0
_POLL_SECONDS = 0.1
_RETRY_AFTER_SECONDS = 0.5

# libvirt 9.0 picks VNC ports and macvtap numbers before it uses them, so two starts can collide
_TRANSIENT = ("Address already in use", "Device or resource busy")


class Prepared(NamedTuple):
    """The XML adapted to this host, after everything it refers to was created; empty where it stays as it was."""

    xml: str
    notes: Tuple[str, ...] = ()


def settled(domains: DomainDriver, name: str) -> Optional[DomainFact]:
    """The fact of the domain, after a shutdown in progress has ended. BusyError when it does not end."""
    deadline = Deadline(_ENDING_SECONDS)
    found = domains.find(name)
    while found is not None and found.state == "shutdown":
        if deadline.passed():
            raise BusyError(f"{name} is shutting down; try again later")
        wait_seconds(_POLL_SECONDS)
        found = domains.find(name)
    return found


def ensure_running(
    domains: DomainDriver,
    request: StartDomain,
    way: Way,
    prepare: Callable[[], Prepared],
    secure: Callable[[DomainDocument], Change],
) -> Change:
    """Bring the guest to running in the planned way, under the lease of the request.

    `prepare` is called only for a domain that is started or restored, before anything changes; `secure` when its
    devices exist and its guest does not run yet. A failed start leaves no definition behind; a managed save stays when
    its restore fails.
    """
    name = request.name
    if way is Way.RUNS:
        return _ensure_autostart(domains, request)
    if way is Way.COMPLETE:
        _secure_and_resume(domains, name, secure)
        return CHANGED
    xml, notes = prepare()
    if way is Way.RESTORE:
        domains.check_managed_save(name)
        _start(domains, name)
        domains.set_autostart(name, request.autostart)
        _secure_and_resume(domains, name, secure)
        return CHANGED
    return Change(True, notes + _start_new(domains, request, xml, secure))


def _start_new(
    domains: DomainDriver, request: StartDomain, xml: str, secure: Callable[[DomainDocument], Change]
) -> Tuple[str, ...]:
    name = request.name
    found = domains.find(name)
    if found is not None:
        domains.destroy(name)
        domains.undefine(name)
    try:
        domains.define(xml)
    except ToolError:
        if not _undefine_former(domains, name, parse_domain(xml).uuid):
            raise
        domains.define(xml)
    try:
        domains.set_autostart(name, request.autostart)
        _start(domains, name)
        _secure_and_resume(domains, name, secure)
    except RocksError:
        with contextlib.suppress(RocksError):  # the first error is the one to report
            domains.destroy(name)
            domains.undefine(name)
        raise
    if found is not None and found.token is None:
        return (f"replaced a definition of {name} not made by this system",)
    return ()


def _undefine_former(domains: DomainDriver, name: str, uuid: str) -> bool:
    """Remove the definition that the machine has left under a former name; whether there was one.

    libvirt defines no second domain with its UUID. A machine that has ended by itself leaves its definition.
    """
    former = [
        fact.name
        for fact in domains.facts()
        if fact.uuid == uuid and fact.name != name and fact.token is not None
        if not (is_active_domain(fact) or fact.has_managed_save)
    ]
    for other in former:
        domains.undefine(other)
    return bool(former)


def _ensure_autostart(domains: DomainDriver, request: StartDomain) -> Change:
    found = domains.find(request.name)
    if found is None or found.autostart == request.autostart or not found.persistent:
        return UNCHANGED
    domains.set_autostart(request.name, request.autostart)
    return CHANGED


def _secure_and_resume(domains: DomainDriver, name: str, secure: Callable[[DomainDocument], Change]) -> None:
    secure(domains.document(name))
    domains.resume(name)


def _start(domains: DomainDriver, name: str) -> None:
    try:
        domains.start_paused(name)
    except ToolError as error:
        if not any(message in str(error) for message in _TRANSIENT):
            raise
        wait_seconds(_RETRY_AFTER_SECONDS)
        domains.start_paused(name)


# Stop a domain and confirm that it is gone; the frontend then releases the lease.
#
# The lease ends first: libvirt's hook rejects each start that has not reached it by then, and a domain that has passed
# it is found and destroyed. So when the end is confirmed, no request of the past can start the domain again.

_BUTTON_AGAIN_SECONDS = 10.0


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
