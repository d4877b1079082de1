"""Bring a domain to running: compare, decide, then define and start. May be repeated at any point."""

from __future__ import annotations

import contextlib
from typing import Callable, NamedTuple, Optional, Tuple

from rocks.clock import Deadline, wait_seconds
from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.libvirt.checks import ACTIVE, GUEST_RUNS
from rocks.devices.libvirt.domain_xml import DomainDocument
from rocks.devices.libvirt.driver import DomainDriver
from rocks.errors import BusyError, RocksError, StateError, ToolError
from rocks.wire.agent import StartDomain
from rocks.wire.facts import DomainFact

_ENDING_SECONDS = 10.0
_POLL_SECONDS = 0.1
_RETRY_AFTER_SECONDS = 0.5

# libvirt 9.0 picks VNC ports and macvtap numbers before it takes them, so two starts can meet
_PASSING = ("Address already in use", "Device or resource busy")


class Prepared(NamedTuple):
    """The XML as this host needs it, when all that it names is there."""

    xml: str
    notes: Tuple[str, ...] = ()


def runs_already(request: StartDomain, found: Optional[DomainFact]) -> bool:
    """Whether nothing has to be started: the domain runs under this very lease.

    StateError for every state from which it cannot be started now, with what to do first.
    """
    if found is not None and found.state in ACTIVE:
        _check_same_lease(request, found)
        if found.state in GUEST_RUNS:
            return True
        if found.state == "paused" and request.assumed_state is None:
            raise StateError(f"{request.name} is paused: `rocks resume host vm {request.name}` lets it go on")
    state = "absent" if found is None else found.state
    if request.assumed_state not in (None, state):
        raise StateError(
            f"{request.name} was {request.assumed_state} when this was decided and is {state} now; try again"
        )
    if found is not None and found.has_managed_save:
        raise StateError(
            f"{request.name} has a saved state on this host: `virsh start {request.name}` there goes on from it, "
            f"`virsh managedsave-remove {request.name}` drops it"
        )
    return False


def ensure_running(
    domains: DomainDriver,
    request: StartDomain,
    prepare: Callable[[], Prepared],
    secure: Callable[[DomainDocument], Change],
) -> Change:
    """Bring a domain to running under the wish's lease.

    `prepare` is called only when it has to be started, before anything of it is touched; `secure` when its devices are
    there and its guest does not run yet. A start that fails leaves no definition behind. A domain that is paused, as
    was assumed, is one whose start was cut off: it is brought to its end. StateError as `runs_already`.
    """
    found = _settled(domains, request.name)
    if runs_already(request, found):
        return _ensure_autostart(domains, request, found)
    if found is not None and found.state == "paused":
        _let_go(domains, request.name, secure)
        return CHANGED
    xml, notes = prepare()
    if found is not None:
        if found.token is None:
            notes += (f"replaced a definition of {request.name} that was not of this system",)
        domains.destroy(request.name)
        domains.undefine(request.name)
    domains.define(xml)
    try:
        domains.set_autostart(request.name, request.autostart)
        _start(domains, request.name)
        _let_go(domains, request.name, secure)
    except RocksError:
        with contextlib.suppress(RocksError):  # the first error is the one to tell
            domains.destroy(request.name)
            domains.undefine(request.name)
        raise
    return Change(True, notes)


def _check_same_lease(request: StartDomain, found: DomainFact) -> None:
    if found.token is None:
        raise StateError(
            f"a domain {request.name} that was not started by this system is {found.state} on this host; "
            f"stop it there with `virsh destroy {request.name}`"
        )
    if found.token != request.token:
        raise StateError(
            f"{request.name} is {found.state} on this host under lease {found.token}, not {request.token}; "
            f"`rocks stop host vm {request.name}` ends it"
        )


def _settled(domains: DomainDriver, name: str) -> Optional[DomainFact]:
    """The domain's fact, after waiting for one that is just ending."""
    deadline = Deadline(_ENDING_SECONDS)
    found = domains.find(name)
    while found is not None and found.state == "shutdown":
        if deadline.passed():
            raise BusyError(f"{name} is shutting down; try again when it has ended")
        wait_seconds(_POLL_SECONDS)
        found = domains.find(name)
    return found


def _ensure_autostart(domains: DomainDriver, request: StartDomain, found: Optional[DomainFact]) -> Change:
    if found is None or found.autostart == request.autostart or not found.persistent:
        return UNCHANGED
    domains.set_autostart(request.name, request.autostart)
    return CHANGED


def _let_go(domains: DomainDriver, name: str, secure: Callable[[DomainDocument], Change]) -> None:
    secure(domains.document(name))
    domains.resume(name)


def _start(domains: DomainDriver, name: str) -> None:
    try:
        domains.start_paused(name)
    except ToolError as error:
        if not any(words in str(error) for words in _PASSING):
            raise
        wait_seconds(_RETRY_AFTER_SECONDS)
        domains.start_paused(name)
