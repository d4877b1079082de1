"""The handlers of the agent's calls: one for each row of `fleet.wire.requests.CALLS`."""

from __future__ import annotations

from typing import Any, Callable, Dict

from rocks.core.errors import RocksError
from rocks.fleet.wire.facts import (
    FactsRequest,
    Fence,
    HostFacts,
    LeaseEnd,
    ProbeFact,
    ProbeRequest,
)
from rocks.fleet.wire.request import Request
from rocks.fleet.wire.requests import call_of
from rocks.machine.host.connections import read_network
from rocks.machine.host.consoles import read_console, read_console_log, read_screen, remove_console_logs
from rocks.machine.host.disk_requests import give_image, read_images, remove_image
from rocks.machine.host.disks import read_disk
from rocks.machine.host.guest_functions import read_adapters, release_older_vfs
from rocks.machine.host.guest_keys import read_infiniband
from rocks.machine.host.guest_links import release_links, sync_links
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.accelerator import known_accelerator, probe_accelerator
from rocks.machine.host.libvirt.checks import ACTIVE, is_active
from rocks.machine.host.libvirt.stop import ensure_fenced
from rocks.machine.host.machine import read_machine
from rocks.machine.host.operations import adapt_documents, perform
from rocks.machine.host.topology import read_shape
from rocks.network.host.kernel_support import has_8021q, has_filters

_FENCE_DEADLINE_SECONDS = 5.0


def answer(host: Host, request: Request[Any]) -> Any:
    """The reply to a request. RocksError when the request fails."""
    return HANDLERS[call_of(request).name](host, request)


def read_facts(host: Host, request: FactsRequest) -> HostFacts:
    """The facts of the host, read after its epoch was raised, its fences were put up and leases have ended."""
    host.lease_epoch.raise_to(request.epoch)
    fenced = tuple(fence.name for fence in request.fences if _put_up(host, fence))
    ended = tuple(end.name for end in request.lease_ends if _end(host, end))
    machine = read_machine()
    return HostFacts(
        hostname=machine.hostname,
        kernel=machine.kernel,
        machine=machine.machine,
        memory_mb=machine.memory_mb,
        cpus=machine.cpus,
        has_8021q=has_8021q(host.state_folder, lambda: host.links().has_8021q()),
        has_filters=has_filters(host.state_folder, lambda: host.filters().works()),
        accelerator=known_accelerator(host.state_folder).accelerator,
        domains=host.domains().facts(),
        disks=tuple(read_disk(disk.path) for disk in request.disks),
        fenced=fenced,
        ended=ended,
        epoch=host.lease_epoch.current(),
        leases=host.leases.facts() if request.asks_leases else (),
        load=machine.load,
        shape=None if request.shape is None else read_shape(request.shape, host.sysfs),
    )


def read_probe(host: Host, request: ProbeRequest) -> ProbeFact:
    """Whether guests run under KVM on this host."""
    return probe_accelerator(host.state_folder, request.again)


def _put_up(host: Host, fence: Fence) -> bool:
    """Whether the fence is in force; False when it cannot be put up now."""
    try:
        with host.leases.held(fence.name, _FENCE_DEADLINE_SECONDS):
            host.leases.end(fence.name, fence.below_token - 1)
            is_fenced = ensure_fenced(host.domains(), fence)
            if host.domains().find(fence.name) is None:
                release_links(host, fence.name)
            return is_fenced and release_older_vfs(host, fence.name, fence.below_token)
    except RocksError:
        return False


def _end(host: Host, end: LeaseEnd) -> bool:
    """Whether the lease has ended; False while its domain is active or saved, or another command works on it."""
    try:
        with host.leases.held(end.name, _FENCE_DEADLINE_SECONDS):
            found = host.domains().find(end.name)
            if found is not None and (found.state in ACTIVE or found.has_managed_save):
                return False
            host.leases.end(end.name, end.token)
            # libvirt may have passed its hook before, on behalf of an agent that has been killed
            return not is_active(host.domains(), end.name)
    except RocksError:
        return False


HANDLERS: Dict[str, Callable[[Host, Any], Any]] = {
    "facts": read_facts,
    "perform": perform,
    "console": read_console,
    "screen": read_screen,
    "console_log": read_console_log,
    "remove_console_logs": remove_console_logs,
    "probe": read_probe,
    "documents": adapt_documents,
    "infiniband": read_infiniband,
    "adapters": read_adapters,
    "network": read_network,
    "sync_links": sync_links,
    "images": read_images,
    "give_image": give_image,
    "remove_image": remove_image,
}
"""Name of a call → its handler."""
