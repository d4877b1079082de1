"""What a host observes of itself, and what every contact of the frontend brings: its epoch and its fences."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable, Tuple

from rocks.core.errors import RocksError
from rocks.fleet.wire.facts import FactsRequest, Fence, HostFacts, LeaseEnd
from rocks.machine.domain_states import ACTIVE_STATES
from rocks.machine.host.disks import read_disk
from rocks.machine.host.guest_functions import release_older_vfs
from rocks.machine.host.guest_links import release_links
from rocks.machine.host.host import Host
from rocks.machine.host.host_facts import read_machine
from rocks.machine.host.libvirt.driver import is_active, other_spelling
from rocks.machine.host.libvirt.stop import ensure_fenced
from rocks.machine.host.topology import read_shape
from rocks.network.host.kernel_support import has_8021q, has_filters

_FENCE_DEADLINE_SECONDS = 5.0


def observe(host: Host, paths: Iterable[str] = ()) -> HostFacts:
    """The facts of the host now, with the disks at the paths; nothing is changed."""
    machine = read_machine()
    return HostFacts(
        memory_mb=machine.memory_mb,
        cpus=machine.cpus,
        has_8021q=has_8021q(host.state_folder, lambda: host.links().has_8021q()),
        has_filters=has_filters(host.state_folder, lambda: host.filters().works()),
        domains=host.domains().facts(),
        disks=tuple(map(read_disk, paths)),
        fenced=(),
        epoch=host.lease_epoch.current(),
        load=machine.load,
    )


def read_facts(host: Host, request: FactsRequest) -> HostFacts:
    """The facts of the host, read after its epoch was raised, its fences were put up and leases have ended."""
    fenced = keep_out(host, request.epoch, request.fences)
    ended = tuple(end.name for end in request.lease_ends if _end(host, end))
    return replace(
        observe(host, request.disks),
        fenced=fenced,
        ended=ended,
        leases=host.leases.facts() if request.asks_leases else (),
        shape=None if request.shape is None else read_shape(request.shape, host.sysfs),
    )


def keep_out(host: Host, epoch: int, fences: Iterable[Fence]) -> Tuple[str, ...]:
    """Raise the epoch, and put up the fences; the names of those that are in force."""
    host.lease_epoch.raise_to(epoch)
    return tuple(fence.name for fence in fences if _put_up(host, fence))


def _put_up(host: Host, fence: Fence) -> bool:
    """Whether the fence is in force; False when it cannot be put up now."""
    try:
        other = other_spelling(host.domains(), fence.name)
        with host.leases.held(fence.name, _FENCE_DEADLINE_SECONDS):
            host.leases.end(fence.name, fence.below_token - 1)
            is_fenced = ensure_fenced(host.domains(), fence)
            if host.domains().find(fence.name) is None:
                release_links(host, fence.name)
            is_fenced = is_fenced and release_older_vfs(host, fence.name, fence.below_token)
            return is_fenced and (other is None or _put_up(host, replace(fence, name=other)))
    except RocksError:
        return False


def _end(host: Host, end: LeaseEnd) -> bool:
    """Whether the lease has ended; False while its domain is active or saved, or another command works on it."""
    try:
        with host.leases.held(end.name, _FENCE_DEADLINE_SECONDS):
            found = host.domains().find(other_spelling(host.domains(), end.name) or end.name)
            if found is not None and (found.state in ACTIVE_STATES or found.has_managed_save):
                return False
            host.leases.end(end.name, end.token)
            # libvirt may have passed its hook before, on behalf of an agent that has been killed
            return not is_active(host.domains(), end.name)
    except RocksError:
        return False
