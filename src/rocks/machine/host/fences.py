"""Fences of a host, its epoch and the ends of leases, as contacts of the frontend bring them: older starts fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable, Tuple

from rocks.core.errors import RocksError
from rocks.fleet.wire.domain_states import ACTIVE_STATES
from rocks.fleet.wire.facts import Fence, LeaseEnd
from rocks.machine.host.guest_functions import release_older_vfs
from rocks.machine.host.guest_links import release_links
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.driver import is_active, other_spelling
from rocks.machine.host.libvirt.stop import ensure_fenced

_DEADLINE_SECONDS = 5.0


def keep_out(host: Host, epoch: int, fences: Iterable[Fence]) -> Tuple[str, ...]:
    """Raise the epoch, and put up the fences; the names of those that are in force."""
    host.lease_epoch.raise_to(epoch)
    return tuple(fence.name for fence in fences if _put_up(host, fence))


def _put_up(host: Host, fence: Fence) -> bool:
    """Whether the fence is in force; False when it cannot be put up now."""
    try:
        other = other_spelling(host.domains(), fence.name)
        with host.leases.held(fence.name, _DEADLINE_SECONDS):
            host.leases.end(fence.name, fence.below_token - 1)
            is_fenced = ensure_fenced(host.domains(), fence)
            if host.domains().find(fence.name) is None:
                release_links(host, fence.name)
            is_fenced = is_fenced and release_older_vfs(host, fence.name, fence.below_token)
            return is_fenced and (other is None or _put_up(host, replace(fence, name=other)))
    except RocksError:
        return False


def end_lease(host: Host, end: LeaseEnd) -> bool:
    """Whether the lease has ended; False while its domain is active or saved, or another command works on it."""
    try:
        with host.leases.held(end.name, _DEADLINE_SECONDS):
            found = host.domains().find(other_spelling(host.domains(), end.name) or end.name)
            if found is not None and (found.state in ACTIVE_STATES or found.has_managed_save):
                return False
            host.leases.end(end.name, end.token)
            # libvirt may have passed its hook before, on behalf of an agent that has been killed
            return not is_active(host.domains(), end.name)
    except RocksError:
        return False
