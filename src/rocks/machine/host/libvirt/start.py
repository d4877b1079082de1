"""Start a domain: compare, decide, define, start. Idempotent at every point."""

from __future__ import annotations

import contextlib
from typing import Callable, NamedTuple, Optional, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, RocksError, StateError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.facts import DomainFact
from rocks.fleet.wire.requests import StartDomain
from rocks.machine.host.libvirt.checks import ACTIVE, GUEST_RUNS
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.driver import DomainDriver

_ENDING_SECONDS = 10.0
_POLL_SECONDS = 0.1
_RETRY_AFTER_SECONDS = 0.5

# libvirt 9.0 picks VNC ports and macvtap numbers before it uses them, so two starts can collide
_TRANSIENT = ("Address already in use", "Device or resource busy")


class Prepared(NamedTuple):
    """The XML adapted to this host, after everything it refers to was created."""

    xml: str
    notes: Tuple[str, ...] = ()


def runs_already(request: StartDomain, found: Optional[DomainFact]) -> bool:
    """Whether the domain already runs under this lease.

    StateError for every state from which it cannot be started; the message says what to run first.
    """
    if found is not None and found.state in ACTIVE:
        _check_same_lease(request, found)
        if found.state in GUEST_RUNS:
            return True
        if found.state == "paused" and request.assumed_state is None:
            raise StateError(f"{request.name} is paused; run `rocks resume host vm {request.name}`")
    state = "absent" if found is None else found.state
    if request.assumed_state not in (None, state):
        raise StateError(
            f"{request.name} is {state}, but was {request.assumed_state} when the start was planned; try again"
        )
    if found is not None and found.has_managed_save:
        raise StateError(
            f"{request.name} has a managed save on this host that does not belong to its lease; rocks stop host vm "
            f"{request.name} saved=remove discards it"
        )
    return False


def ensure_running(
    domains: DomainDriver,
    request: StartDomain,
    prepare: Callable[[], Prepared],
    secure: Callable[[DomainDocument], Change],
) -> Change:
    """Start a domain under the lease of the request.

    `prepare` is called only when the domain must be started, before anything changes; `secure` when its devices exist
    and its guest does not run yet. A failed start leaves no definition behind. A paused domain, where the request
    assumed paused, is an interrupted start, which is completed. StateError as `runs_already`.
    """
    found = _settled(domains, request.name)
    if runs_already(request, found):
        return _ensure_autostart(domains, request, found)
    if found is not None and found.state == "paused":
        _secure_and_resume(domains, request.name, secure)
        return CHANGED
    xml, notes = prepare()
    if found is not None:
        if found.token is None:
            notes += (f"replaced a definition of {request.name} not made by this system",)
        domains.destroy(request.name)
        domains.undefine(request.name)
    domains.define(xml)
    try:
        domains.set_autostart(request.name, request.autostart)
        _start(domains, request.name)
        _secure_and_resume(domains, request.name, secure)
    except RocksError:
        with contextlib.suppress(RocksError):  # the first error is the one to report
            domains.destroy(request.name)
            domains.undefine(request.name)
        raise
    return Change(True, notes)


def ensure_restored(
    domains: DomainDriver,
    request: StartDomain,
    prepare: Callable[[], None],
    secure: Callable[[DomainDocument], Change],
) -> Change:
    """Start a domain from its managed save, under the lease that it was saved under.

    `prepare` and `secure` are called as by `ensure_running`. An interrupted restore is completed. StateError when the
    domain is not saved; the save stays when the restore fails.
    """
    found = _settled(domains, request.name)
    if found is not None and found.state in ACTIVE:
        _check_same_lease(request, found)
        if found.state in GUEST_RUNS:
            return UNCHANGED
    elif found is None or not found.has_managed_save or found.token != request.token:
        raise StateError(f"{request.name} is not saved on this host under lease {request.token}")
    else:
        prepare()
        domains.check_managed_save(request.name)
        _start(domains, request.name)
        domains.set_autostart(request.name, request.autostart)
    _secure_and_resume(domains, request.name, secure)
    return CHANGED


def _check_same_lease(request: StartDomain, found: DomainFact) -> None:
    if found.token is None:
        raise StateError(
            f"a domain {request.name} not started by this system is {found.state} on this host; "
            f"run `virsh destroy {request.name}` there"
        )
    if found.token != request.token:
        raise StateError(
            f"{request.name} is {found.state} on this host under lease {found.token}, not {request.token}; "
            f"run `rocks stop host vm {request.name}`"
        )


def _settled(domains: DomainDriver, name: str) -> Optional[DomainFact]:
    """The fact of the domain, after a shutdown in progress has ended."""
    deadline = Deadline(_ENDING_SECONDS)
    found = domains.find(name)
    while found is not None and found.state == "shutdown":
        if deadline.passed():
            raise BusyError(f"{name} is shutting down; try again later")
        wait_seconds(_POLL_SECONDS)
        found = domains.find(name)
    return found


def _ensure_autostart(domains: DomainDriver, request: StartDomain, found: Optional[DomainFact]) -> Change:
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
