"""What a host observes of itself, and reports to the frontend."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable

from rocks.fleet.wire.facts import FactsRequest, HostFacts
from rocks.machine.host.disks import read_disk
from rocks.machine.host.fences import end_lease, keep_out
from rocks.machine.host.host import Host
from rocks.machine.host.host_facts import read_machine
from rocks.machine.host.topology import read_shape
from rocks.network.host.kernel_support import has_8021q, has_filters


def observe(host: Host, paths: Iterable[str] = ()) -> HostFacts:
    """The facts of the host now, with the disks at the paths; nothing is changed."""
    machine, versions = read_machine(), host.domains().versions()
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
        system=machine.system,
        qemu=versions.qemu,
        libvirt=versions.libvirt,
        libvirt_installed=versions.libvirt_installed,
    )


def read_facts(host: Host, request: FactsRequest) -> HostFacts:
    """The facts of the host, read after its epoch was raised, its fences were put up and leases have ended."""
    fenced = keep_out(host, request.epoch, request.fences)
    ended = tuple(end.name for end in request.lease_ends if end_lease(host, end))
    return replace(
        observe(host, request.disks),
        fenced=fenced,
        ended=ended,
        leases=host.leases.facts() if request.asks_leases else (),
        shape=None if request.shape is None else read_shape(request.shape, host.sysfs),
    )
