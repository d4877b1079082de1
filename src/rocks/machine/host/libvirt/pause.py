"""Pause, resume and restart a guest."""

from __future__ import annotations

from typing import Callable

from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.fleet.wire.requests import PauseDomain, ResumeDomain, StopDomain
from rocks.machine.host.libvirt.checks import check_no_newer_lease, require_running
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.driver import DomainDriver


def ensure_paused(domains: DomainDriver, request: PauseDomain) -> Change:
    """Pause a guest. StateError when it is not running."""
    found = domains.find(request.name)
    if found is not None and found.state == "paused":
        check_no_newer_lease(found, request.token)
        return UNCHANGED
    require_running(domains, request.name, request.token)
    domains.suspend(request.name)
    return CHANGED


def ensure_resumed(
    domains: DomainDriver, request: ResumeDomain, secure: Callable[[DomainDocument], Change]
) -> Change:
    """Call `secure`, then resume a paused guest. StateError when it is neither paused nor running."""
    found = domains.find(request.name)
    if found is not None and found.state == "paused":
        check_no_newer_lease(found, request.token)
        secure(domains.document(request.name))
        domains.resume(request.name)
        return CHANGED
    require_running(domains, request.name, request.token)
    return UNCHANGED


def restart(domains: DomainDriver, request: StopDomain) -> Change:
    """Reset a running domain, or ask its guest to reboot. StateError when it is not running."""
    found = require_running(domains, request.name, request.token)
    if request.action == "reset":
        domains.reset(found.name)
    else:
        domains.reboot(found.name)
    return CHANGED
