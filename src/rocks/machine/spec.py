"""What the records say of a virtual machine that is to run: container, disks, links, CPUs and memory. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.values import HIGHEST_NUMBER, read_number
from rocks.fleet.wire.facts import ACTIVE_STATES
from rocks.fleet.wire.requests import DiskSpec, LinkSpec, StartDomain
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.disks.places import medium_of, place_disk
from rocks.inventory.limits import MAX_VM_CPUS
from rocks.library.guest_images import boots_from_network, medium_name
from rocks.machine.plans import NOT_STARTED
from rocks.network.filter_plan import FilterPlan, plan_filter, unfiltered_note
from rocks.network.guest_connections import (
    Bridged,
    PhysicalMacvtap,
    Unconnected,
    VirtualFunction,
    VlanMacvtap,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.fleet.wire.facts import DomainFact, HostFacts
    from rocks.fleet.wire.requests import DiskFormat
    from rocks.inventory.records import Disk, Host, Lease, VirtualMachine
    from rocks.network.guest_connections import Connection


# What the records say of a virtual machine that is to run: container, disks, links, memory.

LOCAL_TRANSPORT = "local"
_FORMATS: dict[str, DiskFormat] = {"qcow2": "qcow2", "qed": "qed"}


class AlreadyRunningError(StateError):
    """The machine already runs under its own lease, as recorded: an error by name, but not for a whole cluster."""


@dataclass(frozen=True)
class MachineSpec:
    """What the records say of a machine that is to run on its host; the host decides whether and how it starts.

    `request` is the start under no lease yet, and without its document. `notes` are for the operator. `network` are the
    packet filters of its interfaces.
    """

    request: StartDomain
    notes: tuple[str, ...] = ()
    network: FilterPlan = FilterPlan(is_on=False)


def container_of(vm: VirtualMachine, outcome: str = NOT_STARTED) -> Host:
    """The container of `vm`. StateError when it has none, or one that does not run virtual machines; with `outcome`."""
    if vm.container is None:
        raise StateError(
            f"host {vm.name} does not have a physical host; give it one: rocks set host vm {vm.name} physnode=HOST"
        )
    if not vm.container.is_true("kvm"):
        raise StateError(
            f"{vm.name} {outcome}: its physical host {vm.container.name} is not a VM container; "
            f"move it (rocks set host vm {vm.name} physnode=HOST) or set the attribute kvm of "
            f"{vm.container.name} to true"
        )
    return vm.container


def spec_of(
    vm: VirtualMachine,
    connections: Sequence[Connection],
    neighbours: Mapping[int, Sequence[str]],
    outcome: str = NOT_STARTED,
) -> MachineSpec:
    """The spec of a machine. StateError, with the remedy, for one that its records do not let start.

    `neighbours` maps a VLAN id to all hosts on which machines of that VLAN are placed.
    """
    container = container_of(vm, outcome)
    if vm.host.cpus > MAX_VM_CPUS:  # recorded by an earlier release
        raise StateError(
            f"{vm.name} {outcome}: it has {vm.host.cpus} CPUs, and a virtual machine has at most {MAX_VM_CPUS}; rocks "
            f"set host vm {vm.name} cpus={MAX_VM_CPUS}"
        )
    notes = (*unconnected_notes(vm, connections), *_boot_note(vm))
    network = plan_filter(vm, connections)
    _check_vfs(vm, container, connections, outcome)
    request = StartDomain(
        name=vm.name,
        token=0,
        xml="",
        disks=(
            *(disk_spec(vm, container, disk, outcome) for disk in vm.disks),
            *medium_of(vm, container, outcome),
        ),
        links=_links(vm, container, connections, neighbours, outcome),
        autostart=vm.host.attribute("kvm_autostart") == "true",
        cpus=vm.host.cpus,
        memory_mb=vm.memory_mb,
        memory_reserve_mb=memory_reserve_mb(container),
        needs_filters=network.is_on and bool(network.senders),
        host=container.name,
    )
    if network.senders and not network.is_on:
        notes = (*notes, unfiltered_note(vm))
    return MachineSpec(request, notes, network)


def unconnected_notes(vm: VirtualMachine, connections: Sequence[Connection]) -> tuple[str, ...]:
    """A line for each interface for which the container has no device."""
    return tuple(
        f"{c.device} of {vm.name} is not connected: {c.reason}"
        for c in connections
        if isinstance(c, Unconnected)
    )


def _boot_note(vm: VirtualMachine) -> tuple[str, ...]:
    if vm.disks or vm.cdrom_path or medium_name(vm) or boots_from_network(vm):
        return ()
    return (
        f"{vm.name} has no disk, no CD in its drive and no boot from the network, so nothing boots. To give it a disk: "
        f"rocks stop host vm {vm.name}, then rocks set host vm {vm.name} disk=TYPE:PATH,DEVICE,BUS",
    )


def disk_spec(vm: VirtualMachine, container: Host, disk: Disk, outcome: str = NOT_STARTED) -> DiskSpec:
    """The disk as its host creates or checks it. StateError for a place where no disk may be, with that `outcome`."""
    made = DiskSpec(
        disk.path,
        "raw" if disk.is_block else _FORMATS.get(disk.type, "raw"),
        disk.size_gb,
        disk.is_block,
        target=f"{disk.device},{disk.bus}",
    )
    return place_disk(vm, container, disk, made, outcome)


def saved_domain(facts: HostFacts, lease: Lease) -> DomainFact | None:
    """The domain that is saved on the host under this lease; None when there is none."""
    for domain in facts.domains:
        if domain.name.lower() == lease.name.lower() and domain.has_managed_save:
            return domain if domain.token == lease.token and domain.state not in ACTIVE_STATES else None
    return None


def memory_reserve_mb(container: Host) -> int:
    """The memory that is reserved for the host, in MB: attribute `vm_memory_reserve`."""
    # an empty value, which an earlier release stored, is no statement that the default is meant
    text = container.attributes.get("vm_memory_reserve", KNOWN["vm_memory_reserve"].default)
    try:
        return read_number("vm_memory_reserve", text, 0)
    except UserError:
        raise StateError(
            f'the attribute vm_memory_reserve of {container.name} is "{printable(text)}"; it must be a number of MB'
        ) from None


def links_of(container: Host, connections: Sequence[Connection]) -> tuple[LinkSpec, ...]:
    """The network devices under a machine's interfaces, each once; devices of the site are only checked."""
    is_local = container.attribute("vlan_transport") == LOCAL_TRANSPORT
    links = {
        tap.device: LinkSpec(
            device=tap.device,
            kind="local_bridge" if is_local else "vlan",
            parent=None if is_local else tap.parent,
            vlan=tap.vlan,
            mtu=tap.mtu_bytes,
        )
        for tap in connections
        if isinstance(tap, VlanMacvtap)
    }
    for connection in connections:
        if isinstance(connection, PhysicalMacvtap):
            links[connection.device] = LinkSpec(connection.device, "site_device", None, 0)
        elif isinstance(connection, Bridged) and not connection.is_open_vswitch:
            links[connection.bridge] = LinkSpec(connection.bridge, "site_bridge", None, 0)
    return tuple(links.values())


def _check_vfs(vm: VirtualMachine, container: Host, connections: Sequence[Connection], outcome: str) -> None:
    for vf in connections:
        if not isinstance(vf, VirtualFunction):
            continue
        if vf.vlan and container.attribute("vlan_transport") == LOCAL_TRANSPORT:
            raise StateError(
                f"{vm.name} {outcome}: VLANs of {container.name} are local (it has "
                f"vlan_transport={LOCAL_TRANSPORT}), and a virtual function of {vf.device} is not connected to "
                f"them; remove the option sriov from the interface: rocks set host interface options {vm.name} "
                f"{vf.mac} NULL"
            )


def _links(
    vm: VirtualMachine,
    container: Host,
    connections: Sequence[Connection],
    neighbours: Mapping[int, Sequence[str]],
    outcome: str,
) -> tuple[LinkSpec, ...]:
    links = links_of(container, connections)
    for link in links:
        others = sorted(set(neighbours.get(link.vlan, ())) - {container.name})
        if link.kind == "local_bridge" and others:
            raise StateError(
                f"{vm.name} {outcome}: VLANs of {container.name} are local (it has "
                f"vlan_transport={LOCAL_TRANSPORT}), but VLAN {link.vlan} also has machines on {', '.join(others)}, "
                "which could not be reached; place the whole cluster on one host: rocks move host vm "
                f"{vm.name} {others[0]}"
            )
    return links


# What bounds the CPUs and memory of a machine: its own maxima while it runs, and its physical host.

MAX_CPUS_ATTRIBUTE = "kvm_max_cpus"
MAX_MEMORY_ATTRIBUTE = "kvm_max_memory"


def max_cpus(vm: VirtualMachine) -> int:
    """The maximum of CPUs; its present number without one, or with a lower one."""
    return max(vm.host.cpus, _number(vm, MAX_CPUS_ATTRIBUTE, MAX_VM_CPUS))


def max_memory_mb(vm: VirtualMachine) -> int:
    """The maximum of memory in MB; the present memory without one, or with a lower one."""
    return max(vm.memory_mb, _number(vm, MAX_MEMORY_ATTRIBUTE))


def check_maximum(vm: VirtualMachine, word: str, most: int, present: int) -> None:
    """UserError for a maximum below what the machine has; `word` is the parameter, maxcpus or maxmem."""
    if most < present:
        present_word = word.removeprefix("max")
        raise UserError(
            f"{word}={most} is no maximum for {vm.name}: {present_word} is {present}; give {word}={present} or more, "
            f"or a lower {present_word}= with it"
        )


class Placed(NamedTuple):
    """A virtual machine on its physical host; memory in MB."""

    name: str
    cpus: int
    memory_mb: int
    container: Host


def too_many_cpus(vm: Placed) -> str | None:
    """The warning about a machine with more CPUs than its physical host has by its record, which may be wrong.

    None for others, and for a host with one CPU: that is the record of a host whose number nobody has given.
    """
    container = vm.container
    if container.cpus == 1 or vm.cpus <= container.cpus:
        return None
    return (
        f"{vm.name} has {vm.cpus} CPUs, and its host {container.name} has {container.cpus} by its record "
        f"(rocks list host {container.name}), so it does not start there; choose another host, or rocks set host vm "
        f"{vm.name} cpus={container.cpus}"
    )


def too_much_memory(machines: Sequence[Placed], available_mb: int) -> str | None:
    """The warning about machines of one physical host that together have more memory than it has for machines.

    None for others.
    """
    vm, memory_mb = max(machines, key=lambda one: one.memory_mb), sum(one.memory_mb for one in machines)
    if memory_mb <= available_mb:
        return None
    others = f" and {len(machines) - 1} more have" if len(machines) > 1 else " has"
    start = "they do not all start" if len(machines) > 1 else "it does not start"
    return (
        f"{vm.name}{others} {memory_mb} MB of memory, and the host {vm.container.name} had {available_mb} MB "
        f"for virtual machines when it was last asked (rocks sync vm lease asks again), so {start} there; choose "
        f"another host, or rocks set host vm {vm.name} mem=MB"
    )


def unfit_memory_maximum(vm: VirtualMachine, available_mb: int | None) -> str | None:
    """The warning about a maximum of memory below what the machine has, or more than its host has; None for others."""
    most, stated_mb = max_memory_mb(vm), _number(vm, MAX_MEMORY_ATTRIBUTE)
    if 0 < stated_mb < vm.memory_mb:
        return (
            f"maxmem={stated_mb} is no maximum for {vm.name}, and has no effect: mem is {vm.memory_mb}; rocks set host "
            f"vm {vm.name} maxmem={vm.memory_mb}, or more"
        )
    if vm.container is None or available_mb is None or most <= available_mb or most == vm.memory_mb:
        return None
    return (
        f"{vm.name} may get up to {most} MB of memory while it runs, and the host {vm.container.name} had "
        f"{available_mb} MB for virtual machines when it was last asked (rocks sync vm lease asks again); "
        f"rocks set host vm {vm.name} maxmem=MB"
    )


def _number(vm: VirtualMachine, attribute: str, largest: int = HIGHEST_NUMBER) -> int:
    """The number; 0 for an invalid one, which another program can have stored."""
    try:
        return read_number(attribute, vm.host.attribute(attribute), 0, largest)
    except UserError:
        return 0
