"""Halt a guest, let it go on, restart it in place."""

from __future__ import annotations

from typing import Callable

from rocks.devices.change import CHANGED, UNCHANGED, Change
from rocks.devices.domain_checks import awake, refuse_newer_lease
from rocks.devices.domain_steps import DomainSteps
from rocks.devices.domain_xml import DomainDocument
from rocks.wire.agent import PauseDomain, ResumeDomain, StopDomain


def ensure_paused(domains: DomainSteps, wish: PauseDomain) -> Change:
    """Halt a guest where it stands. StateError when it does not run."""
    found = domains.find(wish.name)
    if found is not None and found.state == "paused":
        refuse_newer_lease(found, wish.token)
        return UNCHANGED
    awake(domains, wish.name, wish.token)
    domains.suspend(wish.name)
    return CHANGED


def ensure_resumed(
    domains: DomainSteps, wish: ResumeDomain, secure: Callable[[DomainDocument], Change]
) -> Change:
    """Let a paused guest go on, `secure` before. StateError when it is neither paused nor running."""
    found = domains.find(wish.name)
    if found is not None and found.state == "paused":
        refuse_newer_lease(found, wish.token)
        secure(domains.document(wish.name))
        domains.resume(wish.name)
        return CHANGED
    awake(domains, wish.name, wish.token)
    return UNCHANGED


def restart(domains: DomainSteps, wish: StopDomain) -> Change:
    """Reset a running domain, or ask its guest to reboot. StateError when it does not run."""
    found = awake(domains, wish.name, wish.token)
    if wish.action == "reset":
        domains.reset(found.name)
    else:
        domains.reboot(found.name)
    return CHANGED
