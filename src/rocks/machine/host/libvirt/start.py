"""Start a domain as it was planned: define, start, or continue. Idempotent at every point."""

from __future__ import annotations

import contextlib
from typing import Callable, NamedTuple, Optional, Tuple

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import BusyError, RocksError, ToolError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.domain_states import is_active_domain
from rocks.fleet.wire.facts import DomainFact
from rocks.fleet.wire.requests import StartDomain
from rocks.machine.host.libvirt.domain_xml import DomainDocument, parse_domain
from rocks.machine.host.libvirt.driver import DomainDriver
from rocks.machine.plans import Way

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
